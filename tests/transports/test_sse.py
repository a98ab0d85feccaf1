"""What SSE writes, read back by a parser that follows the WHATWG standard (HTML, 9.2.6) and nothing of ours."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.channel.event import Entry
from tests.support.stream import EventStream, Message
from tests.transports.samples import TIME, control, cursor, delivery, entry, terms, truncated
from transports.sse import SSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

sse = SSE()

AWKWARD = {
    "nothing": None,
    "LF": "one\ntwo\n\nfour\n",
    "CR": "one\rtwo\r\rfour\r",
    "CRLF": "one\r\ntwo\r\n\r\nfour\r\n",
    "fields": "data: x\n\nid: 1-1\nevent: forged.event\nretry: 1\n: comment\n\n",
    "line separators": "one\u2028two\u2029three\u0085four\u000bfive\u000csix",
    "a byte order mark": "\ufeffone\ufeff",
    "NUL": "one\0two",
    "emoji": "👩‍👩‍👧‍👦 🦄𐍈 🇺🇳",
    "leading spaces": "   three",
    "colons": "::: a: b",
    "nested": {"\n": ["\r", {"\u2028": "\r\n"}], "": [[], {}, 0.5, -1, True]},
    "64 KiB": "\n🦄" * 10_922,
}


@pytest.mark.parametrize("data", AWKWARD.values(), ids=AWKWARD)
def test_an_event_arrives_as_it_was_published(data: object) -> None:
    (message,) = read(sse.frame(entry(1, data)))
    assert message.event == "test.happened"
    assert message.last_event_id == str(cursor(1))
    assert json.loads(message.data) == {
        "id": str(cursor(1)),
        "time": TIME,
        "event": "test.happened",
        "scope": "broadcast",
        "version": 1,
        "data": data,
    }


def test_a_frame_is_an_id_a_type_and_one_line_of_data() -> None:
    envelope = f'{{"id":"{cursor(1)}","time":"{TIME}","event":"task.done","scope":"user:42","version":1,"data":{{}}}}'
    frame = sse.frame(entry(1, {}, event="task.done", scope="user:42"))
    assert frame.decode() == f"id: {cursor(1)}\nevent: task.done\ndata: {envelope}\n\n"


def test_a_scope_of_strange_letters_stays_within_its_line() -> None:
    scope = 'user:"\\\u2028\ufeff:data'
    (message,) = read(sse.frame(entry(scope=scope)))
    assert json.loads(message.data)["scope"] == scope


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("\r\n\u2028a", max_size=3), inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(json_values, min_size=1, max_size=6), st.data())
def test_any_events_arrive_once_and_in_order_however_the_bytes_are_cut(values: list[Any], cuts: st.DataObject) -> None:
    entries = [entry(number, value) for number, value in enumerate(values, 1)]
    body = sse.open(terms()).body + sse.join([sse.frame(one) for one in entries], entries[-1].id)
    places = cuts.draw(st.lists(st.integers(0, len(body)), max_size=20).map(sorted))
    messages = read(*(body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)))
    assert [json.loads(message.data)["data"] for message in messages] == values
    assert [message.last_event_id for message in messages] == [str(one.id) for one in entries]


def test_every_byte_may_be_a_piece_of_its_own() -> None:
    frames = [sse.frame(entry(number, data)) for number, data in enumerate(list(AWKWARD.values())[:-1], 1)]
    body = b"".join(frames)
    assert read(*(body[at : at + 1] for at in range(len(body)))) == read(body)
    assert len(read(body)) == len(frames)


# The id, by which an EventSource resumes


def test_a_control_event_with_a_cursor_carries_it_as_its_id() -> None:
    (message,) = read(sse.control(control("heartbeat.sent", cursor(5), cursor=str(cursor(5)))))
    assert message.last_event_id == str(cursor(5))
    assert json.loads(message.data) == {"time": TIME, "event": "heartbeat.sent", "data": {"cursor": str(cursor(5))}}


def test_a_control_event_without_a_cursor_leaves_the_id_alone() -> None:
    events = sse.frame(entry(3)), sse.control(control("ticket.expired"))
    assert [message.last_event_id for message in read(*events)] == [str(cursor(3))] * 2
    assert json.loads(read(*events)[1].data) == {"time": TIME, "event": "ticket.expired"}


def test_the_id_never_passes_an_event_that_was_not_sent() -> None:
    """Cut anywhere, in a stream or in the answer to a poll, the id is the last event's that arrived whole."""
    entries = [entry(number) for number in (2, 3, 5)]
    stream = sse.open(terms()).body + established(1) + b"".join(sse.frame(one) for one in entries)
    poll = polled(entries, position=7, given=1)
    for body in (stream, poll):
        for end in range(len(body)):
            parser = EventStream(last_event_id=str(cursor(1)))
            arrived = [one for one in parser.feed(body[:end].decode()) if "id" in json.loads(one.data)]
            after = arrived[-1].last_event_id if arrived else str(cursor(1))
            assert parser.last_event_id in {after, str(cursor(7)) if len(arrived) == len(entries) else after}


def test_a_cut_between_truncation_and_the_first_event_resumes_behind_the_truncation() -> None:
    body = sse.open(terms()).body + sse.control(truncated(cursor(9))) + established(9)
    parser = EventStream(last_event_id="1-1")
    parser.feed(body.decode())
    assert parser.last_event_id == str(cursor(9))


# SSE-polling


def test_an_answer_that_ends_says_when_to_come_back_then_what_is_new_then_the_position() -> None:
    answer = sse.answer(terms(next_poll_ms=4321), delivery(sse.frame(entry(2)), beat(8), position=cursor(8)))
    text = answer.body.decode()
    assert answer.status == 200
    assert text.startswith(f"retry: 4321\nid: {cursor(2)}\n")
    parser = EventStream()
    assert [message.last_event_id for message in parser.feed(text)] == [str(cursor(2)), str(cursor(8))]
    assert (parser.retry_ms, parser.last_event_id) == (4321, str(cursor(8)))


def test_an_answer_with_nothing_new_dispatches_a_heartbeat_and_sets_the_position() -> None:
    parser = EventStream(last_event_id=str(cursor(1)))
    assert [message.event for message in parser.feed(polled([], position=6, given=1).decode())] == ["heartbeat.sent"]
    assert parser.last_event_id == str(cursor(6))


def test_an_answer_carries_control_events_before_events() -> None:
    said = delivery(sse.frame(entry(9)), position=cursor(9), controls=(sse.control(truncated(cursor(8))),))
    messages = read(sse.answer(terms(), said).body)
    assert [message.event for message in messages] == ["history.truncated", "test.happened"]
    assert [message.last_event_id for message in messages] == [str(cursor(8)), str(cursor(9))]


# The begin of a stream, and refusals


def test_a_stream_begins_with_the_delay_and_is_kept_by_nobody() -> None:
    answer = sse.open(terms(retry_ms=1234))
    assert (answer.status, answer.body) == (200, b"retry: 1234\n"), "a line of the first block"
    assert dict(answer.headers) == {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-store, no-transform",
        b"x-accel-buffering": b"no",
    }


@pytest.mark.parametrize(
    ("accept", "is_event_source"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream, */*;q=0.1", True),
        ("text/event-stream, application/problem+json", False),
        ("text/event-stream, Application/Problem+JSON", False),
        ("*/*", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_an_event_source_is_known_by_what_it_accepts(accept: str, is_event_source: bool) -> None:
    assert sse.takes_no_problem(accept) is is_event_source


def test_who_is_sent_away_is_told_so_with_its_position() -> None:
    answer = sse.defer(terms(retry_ms=7000), control("connection.deferred", cursor(3), code="draining", retry_ms=7000))
    parser = EventStream()
    assert answer.status == 200
    assert [(one.event, one.last_event_id) for one in parser.feed(answer.body.decode())] == [
        ("connection.deferred", str(cursor(3)))
    ]
    assert (parser.retry_ms, parser.last_event_id) == (7000, str(cursor(3)))


def test_who_is_sent_away_without_a_position_gets_an_id_without_a_value_and_asks_as_before() -> None:
    answer = sse.defer(terms(retry_ms=7000), control("connection.deferred", code="draining", retry_ms=7000))
    assert answer.body.startswith(b"retry: 7000\nid:\nevent: connection.deferred\ndata: {")
    parser = EventStream(last_event_id="1-1")
    assert len(parser.feed(answer.body.decode())) == 1
    assert (parser.retry_ms, parser.last_event_id) == (7000, "")


def test_who_is_dismissed_is_told_so_and_comes_back_tomorrow() -> None:
    parser = EventStream()
    said = control("connection.closed", code="closed-by-admin")
    assert [one.event for one in parser.feed(sse.dismiss(terms(), said).decode())] == ["connection.closed"]
    assert parser.retry_ms == 86_400_000


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda: sse.open(terms()).body + established(1), id="open"),
        pytest.param(lambda: polled([], position=6, given=1), id="nothing new"),
        pytest.param(lambda: polled([entry(5)], position=6, given=1), id="something new"),
        pytest.param(lambda: sse.defer(terms(), control("connection.deferred")).body, id="deferred"),
        pytest.param(lambda: sse.dismiss(terms(), control("connection.closed")), id="dismissed"),
    ],
)
def test_every_block_has_one_line_of_json(body: Callable[[], bytes]) -> None:
    """Clients that dispatch a block without data as an empty message parse nothing but JSON."""
    blocks = body().decode().removesuffix("\n\n").split("\n\n")
    for block in blocks:
        (data,) = [line.removeprefix("data: ") for line in block.split("\n") if line.startswith("data: ")]
        assert isinstance(json.loads(data), dict)


LINE_ENDS = "\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("letter", [*LINE_ENDS, "\ufeff", "\x7f", "\x80", "\x9f"], ids=ascii)
@pytest.mark.parametrize(
    "framed",
    [
        pytest.param(lambda text: sse.frame(Entry(cursor(1), "main", "broadcast", raw(text))), id="event"),
        pytest.param(lambda text: sse.frame(entry(1, text)), id="published event"),
        pytest.param(lambda text: sse.control(control("history.truncated", requested=text)), id="control event"),
    ],
)
def test_whoever_splits_lines_as_unicode_does_reads_the_same(framed: Callable[[str], bytes], letter: str) -> None:
    data = f"hi{letter}id: 1-1{letter}event: connection.closed"
    text = framed(data).decode()
    assert text.splitlines() == text.removesuffix("\n").split("\n")
    assert letter in "\r\n" or letter not in text
    (message,) = read(text.encode())
    told = json.loads(message.data)["data"]
    assert data == (told["requested"] if isinstance(told, dict) else told)


def raw(text: str) -> bytes:
    """Write a stored envelope as an older version did."""
    return b'"event":"test.happened","scope":"broadcast","version":1,"data":%b}' % orjson.dumps(text)


def read(*pieces: bytes) -> list[Message]:
    """Read pieces of a stream as they come, cut within a character or not."""
    decoder, parser = codecs.getincrementaldecoder("utf-8")(), EventStream()
    return [message for piece in pieces for message in parser.feed(decoder.decode(piece))]


def established(number: int) -> bytes:
    return sse.control(control("connection.established", cursor(number), cursor=str(cursor(number))))


def polled(entries: Iterable[Entry], *, position: int, given: int) -> bytes:
    """Answer as SSE-polling."""
    frames = [*(sse.frame(one) for one in entries), beat(position)]
    return sse.answer(terms(given=cursor(given)), delivery(*frames, position=cursor(position))).body


def beat(number: int) -> bytes:
    """Say a position, as the engine does behind the events of an answer that ends."""
    return sse.control(control("heartbeat.sent", cursor(number), cursor=str(cursor(number))))
