"""Two views of who is refused are united: in any order, any number of times, and no revocation gets lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.revocation import NOBODY, Refusals, Revocation, refusals

_MARKS = st.sampled_from(["a", "b", "c", "d"])
_REVOCATIONS = st.builds(
    lambda id_, name, until: Revocation("sub", name, "alice", 0, until, id=id_),
    _MARKS,
    st.sampled_from(["42", "7"]),
    st.sampled_from([None, 10, 20]),
)
VIEWS = st.builds(
    lambda made, lifted: refusals(made, dict.fromkeys(lifted, 100)),
    st.lists(_REVOCATIONS, max_size=3),
    st.sets(_MARKS, max_size=2),
)


@given(VIEWS, VIEWS, VIEWS)
def test_the_order_does_not_matter(one: Refusals, two: Refusals, three: Refusals) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(two) == one.merged(two)
    assert one.merged(two.merged(three)) == one.merged(two).merged(three)


@given(VIEWS, VIEWS)
def test_who_is_refused_in_one_view_and_lifted_in_none_is_refused_for_as_long_at_least(
    one: Refusals, two: Refusals
) -> None:
    both = one.merged(two)
    for revocation in (*one.every(), *two.every()):
        if revocation.mark not in both.lifted:
            assert revocation in both.held[revocation.field]
            assert both.foremost()[revocation.field].rank >= revocation.rank


def test_a_lift_lifts_what_was_known_and_nothing_made_elsewhere() -> None:
    first = Revocation("sub", "42", "alice", 1, id="first")
    again = Revocation("sub", "42", "ada", 2, id="again")
    known = NOBODY.revoked(first, 5)
    lifted = known.lift([first], 5)
    assert lifted.held == {}
    assert lifted.merged(known).held == {}
    assert lifted.merged(known.revoked(again, 5)).held == {"sub:42": (again,)}


def test_what_is_over_is_forgotten_with_its_lift() -> None:
    short = Revocation("sub", "42", "alice", 1, until=10, id="short")
    view = NOBODY.revoked(short, 5)
    assert view.at(9).held == {"sub:42": (short,)}
    assert view.at(10) == NOBODY
    assert view.lift([short], 5).at(10) == NOBODY


def test_a_revocation_that_is_read_back_before_its_writer_goes_on_is_not_lifted_by_itself() -> None:
    """The news of a revocation may come between its writing and the end of its writer's call."""
    one = Revocation("sub", "42", "alice", 1, id="one")
    read = NOBODY.merged(refusals([one], {}))
    assert read.revoked(one, 5) == read


def test_a_lift_leaves_what_was_made_of_the_same_name_meanwhile() -> None:
    one = Revocation("sub", "42", "alice", 1, id="one")
    again = Revocation("sub", "42", "ada", 2, id="again")
    view = NOBODY.revoked(one, 5).revoked(again, 5)
    assert view.lift([one], 5).held == {"sub:42": (again,)}


def test_of_two_of_one_name_that_were_made_apart_each_outlives_the_lift_of_the_other() -> None:
    one = Revocation("sub", "42", "alice", 1, id="one")
    two = Revocation("sub", "42", "ada", 2, id="two")
    here, there = NOBODY.revoked(one, 5), NOBODY.revoked(two, 5)
    both = here.merged(there)
    for lifted, left in ((one, two), (two, one)):
        elsewhere = NOBODY.revoked(lifted, 5).lift([lifted], 5)
        assert both.merged(elsewhere).held == {"sub:42": (left,)}
