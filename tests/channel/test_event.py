"""Values: cursors, names, scopes, patterns, filters, envelopes."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.channel.event import (
    EPOCH_SPAN,
    LARGEST,
    Control,
    Cursor,
    Draft,
    Entry,
    check_name,
    check_scope,
    check_scope_or_pattern,
    check_type,
    compact,
    covered,
    covers,
    interest,
    is_pattern,
    parse_cursor,
    parse_filter,
    stored_envelope,
    stored_type,
    timestamp,
)
from tests.channel.events import marker

numbers = st.integers(0, LARGEST - 1)
cursors = st.builds(Cursor, numbers, numbers)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class TestCursor:
    @given(cursors)
    def test_is_written_and_read_back(self, cursor: Cursor) -> None:
        assert parse_cursor(str(cursor)) == cursor

    @given(cursors, cursors)
    def test_is_compared_as_two_numbers(self, a: Cursor, b: Cursor) -> None:
        assert (a < b) == (a.ms < b.ms or (a.ms == b.ms and a.seq < b.seq))

    @pytest.mark.parametrize("text", ["9-10", "10-9", "0-0", f"{LARGEST - 1}-{LARGEST - 1}"])
    def test_of_the_grammar(self, text: str) -> None:
        assert str(parse_cursor(text)) == text

    def test_order_is_not_that_of_the_text(self) -> None:
        assert parse_cursor("9-10") < parse_cursor("10-9")
        assert parse_cursor("1-9") < parse_cursor("1-10")

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "",
                "-",
                "1",
                "1-",
                "-1",
                "1-2-3",
                "a-1",
                "1-a",
                "+1-2",
                "-1-2",
                " 1-2",
                "1-2 ",
                "1-2\n",
                "1 - 2",
                "1_0-2",
            ),
            *(
                "01-2",
                "1-02",
                "00-0",
                "1.0-2",
                "1e3-2",
                "0x1-2",
                "\u0661-\u0662",
                "1−2",
                "$",
                "*",
                "earliest",
                "1-2\x00",
            ),
            *(f"{LARGEST}-0", f"0-{LARGEST}", "99999999999999999-0", "9" * 5_000 + "-0"),
        ],
    )
    def test_not_of_the_grammar(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not a cursor"):
            parse_cursor(text)

    @given(st.text())
    def test_any_text_is_read_or_refused_by_a_short_message(self, text: str) -> None:
        message = ""
        try:
            text = str(parse_cursor(text))
        except ValueError as error:
            message = str(error)
        assert bool(message) != bool(re.fullmatch(r"(0|[1-9]\d*)-(0|[1-9]\d*)", text, re.ASCII))
        assert len(message) < 500

    @given(numbers, st.integers(0, 2**31 - 1), st.integers(0, EPOCH_SPAN - 1))
    def test_tells_its_epoch(self, ms: int, epoch: int, count: int) -> None:
        cursor = Cursor(ms, epoch * EPOCH_SPAN + count)
        assert cursor.epoch == epoch
        assert cursor.seq < LARGEST


class TestNames:
    @pytest.mark.parametrize("text", ["a", "ada@example.org", "é", "名", "a/b:c;d=e", "x" * 255, "🙂"])
    def test_good(self, text: str) -> None:
        assert check_name(text) == text

    @pytest.mark.parametrize(
        "text", ["", "x" * 256, "a b", "a,b", "a\nb", "a\rb", "a\0b", "\x7f", "\x85", "\x9f", " ", "\ud800"]
    )
    def test_bad(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not a name"):
            check_name(text)

    @given(st.text(st.characters(categories=["Cc", "Cs"]) | st.sampled_from(", "), min_size=1))
    def test_no_control_character_comma_or_space(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not a name"):
            check_name("a" + text)


class TestTypes:
    @pytest.mark.parametrize("text", ["a.b", "task.progress-updated", "a1.b2.c3", "a-.b", "a" * 126 + ".b"])
    def test_good(self, text: str) -> None:
        assert check_type(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "a",
            "a.",
            ".a",
            "a..b",
            "A.b",
            "1a.b",
            "-a.b",
            "a.-b",
            "a.1",
            "a_b.c",
            "a.b\n",
            "a.b ",
            "é.b",
            "a" * 127 + ".b",
        ],
    )
    def test_bad(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not an event type"):
            check_type(text)


class TestScopes:
    @pytest.mark.parametrize(
        "text", ["broadcast", "user:42", "user:a:b", "role:admin", "topic:news", "topic:a.b.c", "user:*", "role:a.*"]
    )
    def test_good(self, text: str) -> None:
        assert check_scope(text) == text
        assert not is_pattern(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "Broadcast",
            "broadcast:x",
            "user:",
            "role:",
            "topic:",
            "group:x",
            "user",
            "topic:a..b",
            "topic:.a",
            "topic:a.",
        ],
    )
    def test_bad(self, text: str) -> None:
        for check in (check_scope, check_scope_or_pattern):
            with pytest.raises(ValueError, match=r"is not a (scope|name)"):
                check(text)

    @pytest.mark.parametrize("text", ["topic:*", "topic:news.*", "topic:a.b.*"])
    def test_a_pattern_is_one_only_where_that_is_allowed(self, text: str) -> None:
        assert is_pattern(text)
        assert check_scope_or_pattern(text) == text
        with pytest.raises(ValueError, match="is a pattern"):
            check_scope(text)

    @pytest.mark.parametrize("text", ["topic:.*", "topic:a..*", "topic:..*"])
    def test_a_pattern_has_a_prefix(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not a scope"):
            check_scope_or_pattern(text)

    def test_a_scope_is_as_long_as_a_name(self) -> None:
        assert check_scope("user:" + "x" * 250)
        with pytest.raises(ValueError, match="is not a name"):
            check_scope("user:" + "x" * 251)


class TestCovering:
    @pytest.mark.parametrize(
        ("held", "asked"),
        [
            *(("user:1", "user:1"), ("topic:*", "topic:a"), ("topic:*", "topic:a.b.*"), ("topic:*", "topic:*")),
            *(("topic:a.*", "topic:a.b"), ("topic:a.*", "topic:a.b.c"), ("topic:a.*", "topic:a.b.*")),
            ("topic:a.*", "topic:a.*"),
        ],
    )
    def test_yes(self, held: str, asked: str) -> None:
        assert covers(held, asked)
        assert covered(asked, ["role:x", held])

    @pytest.mark.parametrize(
        ("held", "asked"),
        [
            *(("user:1", "user:12"), ("user:1", "user:2"), ("topic:a.*", "topic:a"), ("topic:a.*", "topic:ab")),
            *(
                ("topic:a.*", "topic:*"),
                ("topic:a.b", "topic:a.*"),
                ("topic:*", "user:1"),
                ("topic:a.b.*", "topic:a.*"),
            ),
            *(("broadcast", "topic:broadcast"), ("user:*", "user:1"), ("role:a.*", "role:a.b")),
        ],
    )
    def test_no(self, held: str, asked: str) -> None:
        assert not covers(held, asked)
        assert not covered(asked, [held])

    def test_what_is_seen_is_what_is_covered(self) -> None:
        held = ["user:1", "topic:a.*", "topic:c"]
        seen = interest("main", held)
        for scope in ("user:1", "user:2", "topic:a", "topic:a.b", "topic:a.b.c", "topic:c", "topic:c.d", "broadcast"):
            stored = stored_envelope("a.b", scope, b"0")
            assert seen.sees(Entry(Cursor(1, 1), "main", scope, stored)) == covered(scope, held)
            assert not seen.sees(Entry(Cursor(1, 1), "other", scope, stored))

    def test_nobody_sees_a_marker(self) -> None:
        assert not interest("", ["broadcast", "topic:*"]).sees(marker(1))
        assert not interest("main", []).sees(marker(1))


class TestFilter:
    @pytest.mark.parametrize(
        ("text", "passing", "hidden"),
        [
            ("task.done", ["task.done"], ["task.done.twice", "task.do", "note.done"]),
            ("task.*", ["task.done", "task.done.twice"], ["tasks.done", "note.task"]),
            ("task.done,note.*", ["task.done", "note.read"], ["task.begun"]),
            ("task.sub.*", ["task.sub.a"], ["task.sub", "task.a"]),
        ],
    )
    def test_passes(self, text: str, passing: list[str], hidden: list[str]) -> None:
        wanted = parse_filter(text)
        assert wanted is not None
        assert [wanted.passes(event) for event in passing] == [True] * len(passing)
        assert [wanted.passes(event) for event in hidden] == [False] * len(hidden)

    @pytest.mark.parametrize("text", ["*", "task.done,*", "*,note.*"])
    def test_a_star_is_everything(self, text: str) -> None:
        assert parse_filter(text) is None

    @pytest.mark.parametrize(
        "text", ["", ",", "task", "task.", "task.*,", "*.done", "task.*.x", "Task.*", ".*", "task*"]
    )
    def test_malformed(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not an event"):
            parse_filter(text)

    def test_equal_filters_are_equal_whatever_their_order(self) -> None:
        assert parse_filter("a.b,c.*,d.*") == parse_filter("d.*,a.b,c.*,a.b")


class TestEnvelope:
    def test_is_one_compact_line_with_its_keys_in_order(self) -> None:
        stored = stored_envelope("task.done", "user:42", b'{"n":1}', 3, key="task:7", origin="k:0:12")
        envelope = Entry(Cursor(1_795_317_600_123, 1_234_567), "main", "user:42", stored).envelope()
        assert envelope == (
            b'{"id":"1795317600123-1234567","time":"2026-11-22T03:20:00.123Z","event":"task.done","scope":"user:42",'
            b'"version":3,"key":"task:7","origin":"k:0:12","data":{"n":1}}'
        )

    def test_leaves_out_what_is_unset(self) -> None:
        envelope = Entry(Cursor(0, 0), "main", "broadcast", stored_envelope("a.b", "broadcast", b"null")).envelope()
        assert list(json.loads(envelope)) == ["id", "time", "event", "scope", "version", "data"]
        assert json.loads(envelope)["version"] == 1

    @given(json_values, st.text(), st.text(min_size=1))
    def test_carries_any_data_and_key(self, data: object, name: str, key: str) -> None:
        scope = f"user:{name}"
        raw = json.dumps(data).encode()
        stored = stored_envelope("a.b", scope, compact(raw), key=key)
        value = json.loads(Entry(Cursor(5, 6), "main", scope, stored).envelope())
        assert (value["data"], value["scope"], value["key"]) == (data, scope, key)
        assert b"\n" not in stored
        assert b"\r" not in stored
        assert stored_type(stored) == "a.b"

    def test_a_control_event_has_no_id_scope_or_version(self) -> None:
        said = Control("heartbeat.sent", {"cursor": "1-2"}, 1_795_317_600_123, Cursor(1, 2))
        assert said.envelope() == (
            b'{"time":"2026-11-22T03:20:00.123Z","event":"heartbeat.sent","data":{"cursor":"1-2"}}'
        )
        assert Control("ticket.expired", {}, 0).envelope() == (
            b'{"time":"1970-01-01T00:00:00.000Z","event":"ticket.expired"}'
        )

    def test_an_entry_knows_what_it_is(self) -> None:
        stored = stored_envelope("a.b", "broadcast", b"0")
        event = Entry(Cursor(1, 1), "main", "broadcast", stored)
        assert (event.event, event.size, event.is_marker, event.is_fence) == ("a.b", len(stored), False, False)
        assert [(marker(1, why).is_marker, marker(1, why).is_fence) for why in (b"idle", b"epoch", b"fence")] == [
            *((True, False), (True, False), (True, True)),
        ]

    def test_a_fingerprint_tells_events_apart(self) -> None:
        def fingerprint(scope: str, data: bytes, version: int = 1) -> str:
            return Draft("main", scope, stored_envelope("a.b", scope, data, version), "k").fingerprint

        assert fingerprint("user:1", b"1") == fingerprint("user:1", b"1")
        others = {fingerprint("user:1", b"1"), fingerprint("user:2", b"1"), fingerprint("user:1", b"2")}
        assert len({*others, fingerprint("user:1", b"1", 2)}) == 4


class TestCompact:
    @given(json_values, st.sampled_from([None, 1, 4, "\t"]))
    def test_means_the_same(self, value: object, indent: int | str | None) -> None:
        written = json.dumps(value, indent=indent).encode()
        assert json.loads(compact(written)) == value
        assert compact(written) == json.dumps(value, separators=(",", ":")).encode()

    @given(st.text())
    def test_leaves_strings_as_they_were_written(self, text: str) -> None:
        written = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")
        assert compact(b" [ " + written + b" , 1 ] ") == b"[" + written + b",1]"

    @pytest.mark.parametrize(
        "number", [b"1.0", b"1e400", b"-0", b"0.10000000000000000001", b"123456789012345678901234567890"]
    )
    def test_leaves_numbers_as_they_were_written(self, number: bytes) -> None:
        assert compact(b'{ "n" : ' + number + b"\r\n}") == b'{"n":' + number + b"}"

    @pytest.mark.parametrize("text", [rb'"a \" b"', rb'"\\"', rb'"\\\" "', rb'" \u0020\n "', b'"  "'])
    def test_leaves_white_space_and_quotes_within_strings(self, text: bytes) -> None:
        assert compact(b"[ " + text + b" , " + text + b" ]") == b"[" + text + b"," + text + b"]"

    def test_of_what_has_no_white_space_is_the_very_same(self) -> None:
        written = b'{"a":[1,2,{"b":null}]}'
        assert compact(written) is written


class TestTimestamp:
    @given(st.integers(0, 253_402_300_799_999))
    def test_is_rfc_3339_in_utc_with_milliseconds(self, ms: int) -> None:
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
        assert timestamp(ms).decode() == expected.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
