"""Two views of who is refused are united: in any order, any number of times, and no revocation gets lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.revocation import NOBODY, Refusals, Revocation

_MARKS = st.sampled_from(["a", "b", "c", "d"])
_REVOCATIONS = st.builds(
    lambda id_, name, until: Revocation("sub", name, "alice", 0, until, id=id_),
    _MARKS,
    st.sampled_from(["42", "7"]),
    st.sampled_from([None, 10, 20]),
)
VIEWS = st.builds(
    lambda made, lifted: Refusals({one.field: one for one in made}, dict.fromkeys(lifted, 100)),
    st.lists(_REVOCATIONS, max_size=3),
    st.sets(_MARKS, max_size=2),
)


@given(VIEWS, VIEWS, VIEWS)
def test_the_order_does_not_matter(one: Refusals, two: Refusals, three: Refusals) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(two) == one.merged(two)
    assert one.merged(two.merged(three)).lifted == one.merged(two).merged(three).lifted


@given(VIEWS, VIEWS)
def test_who_is_refused_in_one_view_and_lifted_in_none_is_refused_for_as_long_at_least(
    one: Refusals, two: Refusals
) -> None:
    both = one.merged(two)
    for revocation in (*one.held.values(), *two.held.values()):
        if revocation.mark not in both.lifted:
            kept = both.held[revocation.field]
            assert kept == revocation or not revocation.outlasts(kept)


def test_a_lift_lifts_what_was_known_and_nothing_made_elsewhere() -> None:
    first = Revocation("sub", "42", "alice", 1, id="first")
    again = Revocation("sub", "42", "ada", 2, id="again")
    known = NOBODY.revoked(first, 5)
    lifted = known.lift("sub:42", 5)
    assert lifted.held == {}
    assert lifted.merged(known).held == {}
    assert lifted.merged(known.revoked(again, 5)).held == {"sub:42": again}


def test_what_is_over_is_forgotten_with_its_lift() -> None:
    short = Revocation("sub", "42", "alice", 1, until=10, id="short")
    view = NOBODY.revoked(short, 5)
    assert view.at(9).held == {"sub:42": short}
    assert view.at(10) == NOBODY
    assert view.lift("sub:42", 5).at(10) == NOBODY
