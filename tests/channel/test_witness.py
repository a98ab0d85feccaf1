"""What a gateway writes down of what it saw: read back as it was, the highest id of each epoch, of one log alone."""

from __future__ import annotations

import pytest

from realtime.channel.event import Cursor
from realtime.channel.witness import Seen, highest, of_log, read, written

FIRST, SECOND = 7 << 20, 9 << 20
"""The least `seq` of two epochs."""


def test_the_highest_id_of_each_epoch_counts() -> None:
    ids = [Cursor(1, SECOND), Cursor(3, FIRST), Cursor(2, FIRST + 5), Cursor(3, FIRST + 1)]
    assert highest(ids) == (Cursor(1, SECOND), Cursor(3, FIRST + 1))


def test_what_was_written_is_read() -> None:
    seen = {"0": Seen(7, (Cursor(3, FIRST), Cursor(4, SECOND))), "control": Seen(9, ())}
    assert dict(read(written(seen))) == seen


def test_what_several_saw_of_one_log_is_put_together() -> None:
    found = [
        ("0", Seen(7, (Cursor(3, FIRST),))),
        ("0", Seen(7, (Cursor(5, FIRST), Cursor(6, SECOND)))),
        ("control", Seen(7, (Cursor(9, FIRST),))),
        ("0", Seen(8, (Cursor(9, FIRST),))),
    ]
    assert of_log(found, "0", 7) == (Cursor(5, FIRST), Cursor(6, SECOND))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"logs": [{"name": "0", "born": 1, "ids": ["x"]}]}'])
def test_what_is_none_of_ours_is_no_witness(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(raw)
