"""What SSE writes, read back by a parser that follows the WHATWG standard (HTML, 9.2.6) and nothing of ours."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import BadCredential, Draining, LogUnavailable, ScopeNotHeld
from tests.support.stream import EventStream, Message
from tests.transports.samples import TIME, control, cursor, delivery, entry, terms, truncated
from transports.sse import SSE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from realtime.channel.event import Entry

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
    answer = sse.answer(terms(next_poll_ms=4321), delivery(sse.frame(entry(2)), position=cursor(8)))
    text = answer.body.decode()
    assert answer.status == 200
    assert text.startswith("retry: 4321\n\n")
    assert text.endswith(f"\n\nid: {cursor(8)}\n\n")
    parser = EventStream()
    assert [message.last_event_id for message in parser.feed(text)] == [str(cursor(2))]
    assert (parser.retry_ms, parser.last_event_id) == (4321, str(cursor(8)))


def test_an_answer_with_nothing_new_dispatches_nothing_and_sets_the_position() -> None:
    parser = EventStream(last_event_id=str(cursor(1)))
    assert parser.feed(polled([], position=6, given=1).decode()) == []
    assert parser.last_event_id == str(cursor(6))


def test_an_answer_carries_control_events_before_events() -> None:
    said = delivery(sse.frame(entry(9)), position=cursor(9), controls=(sse.control(truncated(cursor(8))),))
    messages = read(sse.answer(terms(), said).body)
    assert [message.event for message in messages] == ["history.truncated", "test.happened"]
    assert [message.last_event_id for message in messages] == [str(cursor(8)), str(cursor(9))]


# The begin of a stream, and refusals


def test_a_stream_begins_with_the_delay_and_is_kept_by_nobody() -> None:
    answer = sse.open(terms(retry_ms=1234))
    assert (answer.status, answer.body) == (200, b"retry: 1234\n\n")
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


@pytest.mark.parametrize("error", [Draining("later"), LogUnavailable("later")], ids=lambda error: error.code)
def test_an_event_source_that_may_come_back_is_sent_away_for_a_while(error: Draining | LogUnavailable) -> None:
    answer = sse.refuse(error, terms(retry_ms=7000, given=cursor(3)))
    parser = EventStream()
    assert answer.status == 200
    assert parser.feed(answer.body.decode()) == []
    assert (parser.retry_ms, parser.last_event_id) == (7000, str(cursor(3)))


def test_an_event_source_without_a_position_gets_an_id_without_a_value_and_asks_as_before() -> None:
    answer = sse.refuse(Draining("later"), terms(retry_ms=7000))
    assert answer.body == b"retry: 7000\n\nid:\n\n"
    parser = EventStream()
    assert parser.feed(answer.body.decode()) == []
    assert (parser.retry_ms, parser.last_event_id) == (7000, "")


@pytest.mark.parametrize("error", [BadCredential("no"), ScopeNotHeld("no")], ids=lambda error: error.code)
def test_what_is_final_is_a_status_for_an_event_source_too(error: BadCredential | ScopeNotHeld) -> None:
    assert sse.refuse(error, terms(given=cursor(3))).status == error.status


def test_whoever_reads_problems_gets_one() -> None:
    answer = sse.refuse(Draining("later"), None)
    assert answer.status == 503
    assert json.loads(answer.body)["code"] == "draining"
    assert dict(answer.headers)[b"content-type"] == b"application/problem+json"
    assert b"retry-after" in dict(answer.headers)


def read(*pieces: bytes) -> list[Message]:
    """Read pieces of a stream as they come, cut within a character or not."""
    decoder, parser = codecs.getincrementaldecoder("utf-8")(), EventStream()
    return [message for piece in pieces for message in parser.feed(decoder.decode(piece))]


def established(number: int) -> bytes:
    return sse.control(control("connection.established", cursor(number), cursor=str(cursor(number))))


def polled(entries: Iterable[Entry], *, position: int, given: int) -> bytes:
    """Answer as SSE-polling."""
    frames = [sse.frame(one) for one in entries]
    return sse.answer(terms(given=cursor(given)), delivery(*frames, position=cursor(position))).body
