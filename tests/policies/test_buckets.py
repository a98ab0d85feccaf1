"""Who falls into which arm: sticky, independent, and with as few moves as can be."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.buckets import BUCKETS, bucket, layout, salted, subject
from tests.policies.strategies import slugs

if TYPE_CHECKING:
    from random import Random

SUBS = [f"user-{number}" for number in range(20_000)]


def laid(shares: dict[str, int]) -> list[str]:
    there = layout(shares)
    return [there.arm(one) for one in range(BUCKETS)]


def moves(before: dict[str, int], after: dict[str, int]) -> Counter[tuple[str, str]]:
    """Count the buckets that change sides."""
    return Counter((old, new) for old, new in zip(laid(before), laid(after), strict=True) if old != new)


@st.composite
def shares(draw: st.DrawFn) -> dict[str, int]:
    names = draw(st.lists(slugs | st.just("control"), min_size=1, max_size=6, unique=True))
    cuts = sorted(draw(st.lists(st.integers(0, BUCKETS), min_size=len(names) - 1, max_size=len(names) - 1)))
    return {name: end - begin for name, begin, end in zip(names, [0, *cuts], [*cuts, BUCKETS], strict=True)}


# --- the layout -------------------------------------------------------------------------------------------------------


@given(shares())
def test_each_arm_has_exactly_its_share(given_shares: dict[str, int]) -> None:
    counted = Counter(laid(given_shares))
    assert {name: counted[name] for name in given_shares} == given_shares


@given(shares(), st.randoms(use_true_random=False))
def test_the_order_in_which_arms_are_written_does_not_matter(given_shares: dict[str, int], order: Random) -> None:
    names = list(given_shares)
    order.shuffle(names)
    assert laid({name: given_shares[name] for name in names}) == laid(given_shares)


def test_control_lies_in_the_middle_and_the_others_grow_from_the_ends_in_turn() -> None:
    there = layout({"d": 1000, "control": 6000, "b": 1000, "a": 1000, "c": 1000})
    assert there.names == ("a", "c", "control", "d", "b")


def test_without_an_arm_named_control_the_first_by_name_is_control() -> None:
    assert layout({"b": 1, "a": 9998, "c": 1}).names == ("b", "a", "c")


@pytest.mark.parametrize("control", ["control", "a"])
def test_from_20_to_30_percent_only_the_added_tenth_moves(control: str) -> None:
    assert moves({control: 8000, "sse": 2000}, {control: 7000, "sse": 3000}) == {(control, "sse"): 1000}
    assert moves({control: 7000, "sse": 3000}, {control: 8000, "sse": 2000}) == {("sse", control): 1000}


@pytest.mark.parametrize(("ramped", "other"), [("poll", "sse"), ("sse", "poll")])
def test_with_three_arms_only_the_added_tenth_moves_and_the_third_stays(ramped: str, other: str) -> None:
    before = {"control": 6000, ramped: 2000, other: 2000}
    after = {"control": 5000, ramped: 3000, other: 2000}
    assert moves(before, after) == {("control", ramped): 1000}


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_any_ramp_of_two_arms_against_control_moves_only_what_is_added(
    a: int, b: int, more_a: int, more_b: int
) -> None:
    before = {"control": BUCKETS - a - b, "a": a, "b": b}
    after = {"control": BUCKETS - more_a - more_b, "a": more_a, "b": more_b}
    assert sum(moves(before, after).values()) == abs(more_a - a) + abs(more_b - b)


# --- the draw ---------------------------------------------------------------------------------------------------------


def draw(salt: str, rollout: str, sub: str) -> int:
    who = subject(sub, None)
    assert who is not None
    return bucket(salted(salt, rollout), who)


def test_a_client_is_in_the_same_bucket_for_ever() -> None:
    """Numbers that no version may change: everybody in a running rollout would change sides."""
    assert [draw("2026-11", "sse-on-android", sub) for sub in ("ada", "bob")] == [1749, 9346]


def test_a_subject_and_a_client_id_of_the_same_text_are_two() -> None:
    assert subject("ada", "phone") == subject("ada", None) != subject(None, "ada")
    assert subject(None, None) is subject("", "") is None


def test_salt_and_name_do_not_run_into_each_other() -> None:
    assert salted("a", "b") != salted("", "ab") != salted("ab", "")


def test_buckets_are_filled_evenly() -> None:
    filled = Counter(draw("", "a", sub) * 100 // BUCKETS for sub in SUBS)
    assert len(filled) == 100
    assert chi_square(filled, 100) < 149  # p = 0.001 for 99 degrees of freedom


@pytest.mark.parametrize(
    ("one", "other"),
    [(("", "a"), ("", "b")), (("s", "a"), ("t", "a")), (("s", "ab"), ("sa", "b"))],
    ids=["names", "salts", "both"],
)
def test_two_rollouts_know_nothing_of_each_other(one: tuple[str, str], other: tuple[str, str]) -> None:
    tenths = Counter((draw(*one, sub) // 1000, draw(*other, sub) // 1000) for sub in SUBS)
    assert tenths.keys() == set(product(range(10), range(10)))
    assert chi_square(tenths, 100) < 149


def chi_square(counted: Counter[int] | Counter[tuple[int, int]], cells: int) -> float:
    expected = len(SUBS) / cells
    return sum((count - expected) ** 2 / expected for count in counted.values())
