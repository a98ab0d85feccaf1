"""The load in C finds what is missing, repeated, out of order or malformed, however the bytes are cut."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from bench.programs import build

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Judge: TypeAlias = Callable[..., dict[str, Any]]
CUTS = pytest.mark.parametrize("cut", [1, 2, 7, 37, 38, 39, 100, 1 << 18])
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    assert shutil.which("gcc"), "gcc is missing, and the load is written in C. As root: apt-get install gcc libc6-dev"
    program = build("judge", tmp_path_factory.mktemp("load"))

    def run(data: bytes, cut: int, form: str = "answer") -> dict[str, Any]:
        done = subprocess.run([program, form, str(cut), "2"], input=data, capture_output=True, check=True)
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    return run


def frames(numbers: Iterable[int], lane: int = 0) -> bytes:
    tick = b'id: 17-1\nevent: bench.ticked\ndata: {"data":{"tick":"%04d-%08d-0000000000000042","text":"x"}}\n\n'
    return b"".join(tick % (lane, number) for number in numbers)


def chunked(body: bytes, longest: int) -> bytes:
    sizes, parts, at = Random(longest), [], 0
    while at < len(body):
        size = sizes.randint(1, longest)
        parts.append(body[at : at + size])
        at += size
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@CUTS
@pytest.mark.parametrize("longest", [3, 50, 1 << 18])
def test_everything_in_order_is_found_however_it_is_cut(judge: Judge, cut: int, longest: int) -> None:
    told = judge(chunked(frames(range(100)) + frames(range(50), lane=1), longest), cut)
    assert told["complete"]
    assert told["received"] == 150
    assert [told[fault] for fault in ("missing", "repeated", "disordered", "garbled")] == [0, 0, 0, 0]


@CUTS
def test_a_missing_event_is_complained_of(judge: Judge, cut: int) -> None:
    told = judge(chunked(frames([0, 1, 3, 4]), 60), cut)
    assert (told["missing"], told["repeated"], told["disordered"]) == (1, 0, 0)


@CUTS
def test_a_repeated_event_is_complained_of(judge: Judge, cut: int) -> None:
    told = judge(chunked(frames([0, 1, 1, 2]), 60), cut)
    assert (told["missing"], told["repeated"], told["disordered"]) == (0, 1, 0)


@CUTS
def test_an_event_out_of_order_is_complained_of(judge: Judge, cut: int) -> None:
    told = judge(chunked(frames([0, 2, 1, 3]), 60), cut)
    assert (told["missing"], told["repeated"], told["disordered"]) == (0, 0, 1)


def test_an_event_of_an_unknown_lane_is_complained_of(judge: Judge) -> None:
    assert judge(chunked(frames([0], lane=7), 60), 100)["garbled"] == 1


def test_a_tick_that_cannot_be_read_is_complained_of(judge: Judge) -> None:
    assert judge(chunked(frames([0]).replace(b"-000", b"-0x0"), 60), 100)["garbled"] == 1


@pytest.mark.parametrize("body", [b"\r\n", b"zz\r\n", b"5\r\nhelloX\r\n", b"ffffffffffffffff1\r\n"])
def test_malformed_chunks_are_complained_of(judge: Judge, body: bytes) -> None:
    assert judge(HEAD + body, 1)["malformed"]


def test_chunk_extensions_and_trailers_are_passed_over(judge: Judge) -> None:
    body = frames([0, 1])
    told = judge(HEAD + b'%X;a="b"\r\n%b\r\n0\r\nX-Fact: 1\r\n\r\n' % (len(body), body), 5)
    assert told["complete"]
    assert told["received"] == 2


def test_a_body_with_a_length_ends_with_it(judge: Judge) -> None:
    body = frames([0, 1])
    told = judge(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body), 11)
    assert told["complete"]
    assert told["received"] == 2


@CUTS
@pytest.mark.parametrize("count", [1, 2, 2_000])
def test_websocket_frames_of_all_lengths_are_taken_apart(judge: Judge, cut: int, count: int) -> None:
    short = b"\x81\x00\x81\x012"
    body = frames(range(count))
    length = (
        bytes([126]) + len(body).to_bytes(2, "big")
        if len(body) < 1 << 16
        else bytes([127]) + len(body).to_bytes(8, "big")
    )
    told = judge(short + b"\x81" + length + body, cut, "frames")
    assert told["received"] == count
    assert told["frames"] == 3


def test_without_a_compiler_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt-get install gcc"):
        build("judge", tmp_path / "nothing")
