"""A replica believes that it leads only while no other replica can be elected."""

import asyncio

import pytest

from runstead.core import limits
from runstead.core.errors import Error

HELD_S = limits.leader_lease_s - limits.leader_margin_s


async def test_of_two_replicas_one_leads(new_leader):
    (here, first), (there, second) = new_leader(), new_leader()
    assert not here.leader_state.leads
    await first.request()
    await second.request()
    assert (here.leader_state.leads, there.leader_state.leads) == (True, False)
    assert (here.leader_state.term, there.leader_state.term) == (1, 1)


async def test_a_replica_that_was_stopped_for_a_minute_does_not_lead_until_it_is_elected_again(
    new_leader, clock
):
    (here, first), (there, second) = new_leader(), new_leader()
    await first.request()
    clock.advance(60)
    assert not here.leader_state.leads
    await second.request()
    assert there.leader_state.leads
    await first.request()
    assert not here.leader_state.leads
    clock.advance(60)
    await first.request()
    assert (here.leader_state.leads, here.leader_state.term) == (True, 3)


async def test_a_lease_counts_from_before_the_request(new_leader, store, clock, monkeypatch):
    app, leader = new_leader()
    ask = store.leadership.lead

    async def slow(owner, lease_ms):
        lead = await ask(owner, lease_ms)
        clock.advance(HELD_S)  # the process was stopped while the answer waited
        return lead

    monkeypatch.setattr(store.leadership, "lead", slow)
    await leader.request()
    assert (app.leader_state.leads, app.leader_state.term) == (False, 1)


async def test_a_lead_ends_before_another_replica_can_be_elected(new_leader, clock):
    (here, first), (there, second) = new_leader(), new_leader()
    await first.request()
    clock.advance(HELD_S - 0.001)
    assert here.leader_state.leads
    clock.advance(0.001)
    assert not here.leader_state.leads
    await second.request()
    assert not there.leader_state.leads


async def test_without_the_store_no_replica_leads_longer_than_its_lease(
    new_leader, store, clock, monkeypatch
):
    app, leader = new_leader()
    await leader.request()

    async def gone(*_):
        raise Error("STORE_UNAVAILABLE", "The store is away", retry_after_s=1)

    with monkeypatch.context() as away:
        away.setattr(store.leadership, "lead", gone)
        with pytest.raises(Error, match="away"):
            await leader.request()
        assert app.leader_state.leads
        clock.advance(HELD_S)
        assert not app.leader_state.leads
    await leader.request()
    assert app.leader_state.leads


async def test_a_request_to_a_store_that_does_not_answer_times_out(new_leader, store, monkeypatch):
    app, leader = new_leader()

    async def silent(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(store.leadership, "lead", silent)
    monkeypatch.setattr(limits, "leader_lease_s", 0.01)
    with pytest.raises(Error, match="did not answer the leader election in time"):
        await leader.request()
    assert not app.leader_state.leads


async def test_the_leader_renews_well_within_its_lease(new_leader, store, clock, until, monkeypatch):
    app, leader = new_leader()
    lead, requested_at = store.leadership.lead, []

    async def counted(owner, lease_ms):
        requested_at.append(clock.now)
        return await lead(owner, lease_ms)

    monkeypatch.setattr(store.leadership, "lead", counted)
    monkeypatch.setattr(limits, "leader_poll_s", 0.001)
    running = asyncio.ensure_future(leader.run())
    for _ in range(20):
        await until(lambda: clock.now in requested_at and app.leader_state.leads)
        clock.advance(2)  # the time between two requests
        assert app.leader_state.leads
    assert app.leader_state.term == 1
    app.stop()
    await running


async def test_a_dead_leader_is_replaced_within_ten_seconds():
    assert limits.leader_lease_s + limits.leader_poll_s + limits.loop_wait_s_max < 10
    assert 2 * limits.leader_poll_s < HELD_S  # one request may fail


async def test_a_leader_that_stops_wakes_the_others(new_leader, until, monkeypatch):
    monkeypatch.setattr(limits, "leader_poll_s", 600)
    (here, first), (there, second) = new_leader(), new_leader()
    await first.request()
    running = [asyncio.ensure_future(leader.run()) for leader in (first, second)]
    await until(lambda: there.leader_state.term)
    here.stop()
    async with asyncio.timeout(30):
        await running[0]
        await until(lambda: there.leader_state.leads)
    assert (here.leader_state.leads, there.leader_state.term) == (False, 2)
    there.stop()
    await running[1]


async def test_a_stop_does_not_wait_for_a_store_that_does_not_answer(new_leader, store, monkeypatch):
    app, leader = new_leader()
    await leader.request()

    async def silent(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr(store.leadership, "resign", silent)
    monkeypatch.setattr(limits, "leader_poll_s", 0.01)
    await leader.resign()
    assert not app.leader_state.leads
