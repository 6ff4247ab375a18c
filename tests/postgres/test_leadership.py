"""Replicas compete for the lead: never two have it, also if one stalls, breaks or has a wrong clock."""

import asyncio
import itertools
import random
import time

import pytest

from runstead.core.errors import Error
from runstead.core.leadership import LeaderState

LEASE_MS = 40
KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'runstead' AND datname = current_database()"
)


class Candidate:
    """Wants to lead; notes from when to when, and in which term, it believed that it did."""

    def __init__(self, store, name, dice):
        self.store, self.name, self.dice = store, name, dice
        self.terms, self.held = set(), []

    async def strive(self, seconds):
        leader_state, end = LeaderState(), time.monotonic() + seconds
        while time.monotonic() < end:
            # The database counts whole ms: its lease may end up to one sooner, as a leader's margin allows for.
            until = leader_state.clock() + (LEASE_MS - 1) / 1_000
            lead = await self.store.leadership.lead(self.name, LEASE_MS)
            if lead.owner == self.name:
                self.terms.add(lead.term)
                leader_state.hold(lead.term, until)
                self.held.append((leader_state.clock(), until, lead.term))
            await asyncio.sleep(self.dice.choice([0.001, 0.01, 0.06]))
            if self.dice.random() < 0.1 and leader_state.leads:
                began, _, term = self.held.pop()
                self.held.append((began, leader_state.clock(), term))
                await self.store.leadership.resign(self.name)


async def test_of_many_replicas_never_two_lead_at_once(replicas):
    drivers = await replicas(3)
    candidates = [Candidate(driver.store, f"{n}", random.Random(n)) for n, driver in enumerate(drivers * 2)]
    await asyncio.gather(*(candidate.strive(1.5) for candidate in candidates))
    terms = [term for candidate in candidates for term in candidate.terms]
    assert len(terms) == len(set(terms)) > 10
    held = sorted((*times, one.name) for one in candidates for times in one.held)
    for (_, end, term, name), (begin, _, later, other) in itertools.pairwise(held):
        assert later >= term
        assert other == name or end <= begin
    assert len({name for *_, name in held}) > 2


async def test_a_stalled_candidate_blocks_no_election_and_loses(replicas, monkeypatch):
    here, there = await replicas(2)
    looked, go_on = asyncio.Event(), asyncio.Event()
    session = here.store.leadership._database._driver
    answer = session._answer

    async def stopped(connection, step):
        found = await answer(connection, step)
        if not looked.is_set():
            looked.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(session, "_answer", stopped)
    still = asyncio.ensure_future(here.store.leadership.lead("ann", 60_000))
    await looked.wait()
    assert (await there.store.leadership.lead("bob", 60_000)).owner == "bob"
    go_on.set()
    assert (await still).owner == "bob"


@pytest.mark.parametrize("years", [1, -1])
async def test_the_databases_clock_is_the_one_that_counts(replicas, monkeypatch, years):
    right, mistaken = await replicas(2)
    real_time_ns = time.time_ns
    held = await right.store.leadership.lead("ann", 60_000)
    monkeypatch.setattr(time, "time_ns", lambda: real_time_ns() + years * 365 * 86_400 * 1_000_000_000)
    assert await mistaken.store.leadership.lead("bob", 60_000) == held
    renewed = await mistaken.store.leadership.lead("ann", 60_000)
    assert 0 <= renewed.expires_at - held.expires_at < 60_000


async def test_a_session_that_broke_costs_no_lead(driver, sql):
    held = await driver.store.leadership.lead("ann", 60_000)
    sql(KILL)
    assert (await driver.store.leadership.lead("ann", 60_000)).term == held.term
    sql(KILL)
    await driver.store.leadership.resign("ann")
    assert (await driver.store.leadership.lead("bob", 60_000)).term == held.term + 1


async def test_while_the_database_is_down_no_replica_leads(open_driver, own_server):
    driver = await open_driver(own_server.url())
    await driver.store.leadership.lead("ann", 60_000)
    own_server.stop()
    with pytest.raises(Error) as caught:
        await driver.store.leadership.lead("ann", 60_000)
    assert caught.value.code == "STORE_UNAVAILABLE"
    own_server.start()
    assert (await driver.store.leadership.lead("ann", 60_000)).term == 1
