"""Leader election: the rule of the lease, and what a replica knows about its lead."""

from hypothesis import given, strategies as st

from runstead.core.leadership import Lead, LeaderState, elect, resign, unexpired

OWNERS = st.sampled_from(["ann", "bob", "cyd"])
STEPS = st.lists(st.tuples(OWNERS, st.sampled_from(["ask", "resign"]), st.integers(0, 4_000)), max_size=40)


@given(STEPS)
def test_a_term_has_one_owner_and_terms_only_grow(steps):
    held, now, owners = Lead(), 0, {}
    for owner, what, passed in steps:
        now += passed
        before = held
        held = resign(held, owner) if what == "resign" else elect(held, owner, 3_000, now)
        assert before.term <= held.term <= before.term + 1
        if held.owner is not None:
            assert owners.setdefault(held.term, held.owner) == held.owner
            assert now < held.expires_at <= now + 3_000 or what == "resign"


@given(STEPS, st.integers(0, 10_000))
def test_an_expired_lead_is_reported_without_an_owner(steps, later):
    held, now = Lead(), 0
    for owner, what, passed in steps:
        now += passed
        held = resign(held, owner) if what == "resign" else elect(held, owner, 3_000, now)
    reported = unexpired(held, now + later)
    assert reported.term == held.term
    assert reported.owner == (held.owner if held.expires_at > now + later else None)


@given(STEPS)
def test_a_lead_changes_its_owner_only_after_it_expired_or_was_resigned(steps):
    held, now = Lead(), 0
    for owner, what, passed in steps:
        now += passed
        new = resign(held, owner) if what == "resign" else elect(held, owner, 3_000, now)
        if held.owner not in (None, owner) and now < held.expires_at:
            assert new == held
        held = new


@given(st.lists(st.tuples(OWNERS, st.integers(-10_000, 10_000)), max_size=40))
def test_no_lead_lasts_longer_than_a_lease_without_renewal_wherever_the_clock_is_set(steps):
    held, now = Lead(), 50_000
    for owner, moved in steps:
        now += moved
        held = elect(held, owner, 3_000, now)
        assert held.expires_at <= now + 3_000


@given(
    st.lists(
        st.tuples(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 5_000), OWNERS), max_size=40
    )
)
def test_two_replicas_never_believe_to_lead_at_once_however_slow_the_answers_are(steps):
    """Each waits, asks the store, which needs its time to read the clock, and to answer.

    All clocks go at one speed.
    """
    now, held = 0, Lead()
    standings = {owner: LeaderState(lambda: now / 1_000) for owner in ("ann", "bob", "cyd")}
    for waited, asking, answering, owner in steps:
        now += waited
        until = now / 1_000 + 3
        now += asking
        held = elect(held, owner, 3_000, now)
        now += answering
        if held.owner == owner:
            standings[owner].hold(held.term, until)
        else:
            standings[owner].follow(held.term)
        assert sum(leader_state.leads for leader_state in standings.values()) <= 1


def test_a_replica_that_was_stopped_does_not_lead_when_it_continues():
    now = [100.0]
    leader_state = LeaderState(lambda: now[0])
    assert not leader_state.leads
    leader_state.hold(7, 105.5)
    assert leader_state.leads
    now[0] = 105.5
    assert not leader_state.leads
    assert leader_state.term == 7
