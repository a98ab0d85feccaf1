"""Lines are written whole or counted as lost; nothing waits and nothing is raised."""

from __future__ import annotations

import io
import os
from contextlib import closing
from pathlib import Path
from typing import TextIO

import pytest

from realtime.outlet import Outlet


def pipe() -> tuple[int, TextIO]:
    reader, writer = os.pipe()
    return reader, os.fdopen(writer, "w", encoding="utf-8")


def read_all(reader: int) -> bytes:
    os.set_blocking(reader, False)
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(reader, 1 << 16)
        except BlockingIOError:
            return b"".join(parts)
        if not part:
            return b"".join(parts)
        parts.append(part)


@pytest.mark.parametrize(
    "line", ["one\n", "é\u2028\n", "\ud800\n", "x" * 20_000 + "\n"], ids=["short", "wide", "lone", "long"]
)
def test_a_line_arrives_as_it_is(line: str) -> None:
    reader, stream = pipe()
    with closing(stream):
        outlet = Outlet(stream)
        outlet.write(line)
        assert read_all(reader) == line.encode("utf-8", "backslashreplace")
        assert outlet.lost == 0
    os.close(reader)


def test_a_pipe_that_nobody_reads_loses_lines_and_takes_them_again_once_it_is_read() -> None:
    reader, stream = pipe()
    with closing(stream):
        outlet = Outlet(stream)
        while outlet.lost < 3:
            outlet.write("x" * 3_000 + "\n")
        kept = read_all(reader)
        assert kept
        outlet.write("after\n")
        assert read_all(reader).endswith(b"\nafter\n" if not kept.endswith(b"\n") else b"after\n")
        assert outlet.lost == 3
    os.close(reader)


def test_a_line_that_was_cut_off_does_not_run_into_the_next() -> None:
    reader, stream = pipe()
    with closing(stream):
        outlet = Outlet(stream)
        while not outlet.lost:
            outlet.write("y" * 9_999 + "\n")
        lines = read_all(reader).split(b"\n")
        outlet.write("after\n")
        torn = bool(lines[-1])
        assert read_all(reader) == (b"\nafter\n" if torn else b"after\n")
    os.close(reader)


def test_a_reader_that_has_gone_is_no_error() -> None:
    reader, stream = pipe()
    os.close(reader)
    with closing(stream):
        outlet = Outlet(stream)
        outlet.write("lost\n")
        assert outlet.lost == 1


def test_a_full_disk_is_no_error() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as stream:
        outlet = Outlet(stream)
        outlet.write("lost\n")
        assert outlet.lost == 1


def test_a_stream_that_is_closed_or_absent_is_no_error() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        outlet = Outlet(stream, lost=2)
        outlet.write("lost\n")
        assert outlet.lost == 3


def test_a_stream_in_memory_is_written_to() -> None:
    stream = io.StringIO()
    Outlet(stream).write("one\n")
    assert stream.getvalue() == "one\n"
