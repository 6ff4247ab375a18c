"""The waits that an event finds: stored with what runs await, also by commands of one commit."""

import asyncio

from runstead.core.runs.bus_event import BusEvent, event_digest, term_of
from runstead.core.runs.signal import AwaitedEvent
from tests.support.store_driver import PROJECT

AWAITED = AwaitedEvent("paid", "call-1", {"order": 7, "sum": 1})


async def add(store, event_id="e-1", name="paid"):
    event = BusEvent(
        project_id=PROJECT,
        event_id=event_id,
        name=name,
        data=b"{}",
        digest=event_digest(name, b"{}"),
        occurred_at=None,
        created_at=0,
        kept_until=1,
    )
    return await store.bus_events.add(event, 1_000)


async def found(store, event, data, after=0):
    return [
        (path, wait.run_id, wait.tool_call_id)
        for path in await store.bus_events.paths(PROJECT, event.name)
        if (term := term_of(data, path)) is not None
        for wait in await store.bus_events.waits(event, path, term, after, 10)
    ]


async def test_the_waits_of_commands_of_one_commit_are_those_that_remain(driver, store):
    for number in range(4):
        await driver.create(f"run-{number}")
    waits = [driver.wait(f"run-{number}", "event", events=(AWAITED,)) for number in range(4)]
    await asyncio.gather(*waits, driver.signal("run-1", "paid"), driver.cancel("run-2"))
    await driver.wait(
        "run-1", "event", events=(AwaitedEvent("paid", "call-2"), AwaitedEvent("sent", "call-3"))
    )
    event, is_new = await add(store)
    assert is_new
    assert await found(store, event, {"order": 7}) == [
        ("", "run-1", "call-2"),
        ("order", "run-0", "call-1"),
        ("order", "run-3", "call-1"),
    ]
    assert await found(store, event, {"order": 8, "sum": 1}) == [("", "run-1", "call-2")]
    assert await found(store, event, None) == [("", "run-1", "call-2")]


async def test_a_wait_that_was_added_after_an_event_is_not_found_for_it(driver, store):
    for number in range(2):
        await driver.create(f"run-{number}")
    await driver.wait("run-0", "event", events=(AwaitedEvent("paid", "call-1"),))
    event, _ = await add(store)
    # The number of an ended wait is not used again.
    await driver.signal("run-0", "paid")
    await driver.wait("run-1", "event", events=(AwaitedEvent("paid", "call-1"),))
    assert await found(store, event, {}) == []
    assert len(await found(store, (await add(store, "e-2"))[0], {})) == 1


async def test_an_event_is_due_again_until_its_delivery_is_finished(driver, store, clock):
    finished, _ = await add(store, "e-0", "unknown")
    assert (finished.due_at, finished.data) == (None, None)
    await driver.create("run-1")
    await driver.wait("run-1", "event", events=(AwaitedEvent("paid", "call-1"),))
    event, _ = await add(store)
    assert await add(store) == (event, False)
    assert (await store.bus_events.due(10, 1_000))[1] == []
    clock.advance(1)
    [due] = (await store.bus_events.due(10, 1_000))[1]
    assert due == event
    assert (await store.bus_events.due(10, 1_000))[1] == []
    await store.bus_events.delay(event, 2, 1, 0)
    await store.bus_events.finish(event, 1, 0)
    await store.bus_events.delay(event, 5, 5, 0)  # another server was slower
    assert (await store.bus_events.due(10, 1_000))[1] == []
    kept, _ = await add(store)
    assert (kept.resumed, kept.started, kept.data) == (3, 1, None)
    assert await store.bus_events.prune(10) == 2
