"""The store as a whole: open, close, check."""

import asyncio

from runstead.core.identity.project import Project


async def test_the_facts_name_the_engine_and_its_queue(store, engine):
    facts = store.facts()
    assert (facts["engine"], facts["queue_depth"]) == (engine, 0)


async def test_the_facts_count_commands_and_commits_since_the_start(store, driver):
    before = store.facts()
    await asyncio.gather(*(driver.create() for _ in range(20)))
    after = store.facts()
    assert after["commands"] - before["commands"] == 20
    assert 1 <= after["commits"] - before["commits"] <= 20


async def test_check_commits_and_returns_the_facts(store):
    before = store.facts()
    facts = await store.check()
    assert facts == store.facts()
    assert facts["commits"] == before["commits"] + 1


async def test_check_leaves_nothing_behind(store, driver):
    for _ in range(3):
        await store.check()
    assert await store.identity.is_empty()
    assert await driver.rows() == []


async def test_a_store_closes_twice_without_complaint(new_store, clock):
    store = new_store(clock)
    await store.open()
    await store.close()
    await store.close()


async def test_closing_finishes_what_is_queued(new_store, clock):
    store = new_store(clock)
    await store.open()
    creates = [
        asyncio.ensure_future(store.identity.create_project(Project(f"p-{n}", f"p-{n}", "P", n), None, None))
        for n in range(50)
    ]
    await asyncio.sleep(0)  # lets each of them reach the store
    await store.close()
    outcomes = await asyncio.gather(*creates)
    assert len(outcomes) == 50


async def test_what_was_stored_is_there_after_opening_again(new_store, clock, driver, event):
    await driver.create("run-1")
    await driver.append("run-1", event())
    run, log = await driver.row("run-1"), await driver.log("run-1")
    await driver.store.close()
    await driver.store.open()
    assert await driver.store.runs.get(driver.key("run-1")) == run
    assert await driver.store.runs.events(run.seq, 0, 100) == log


async def test_two_stores_do_not_share(new_store, clock):
    first, second = new_store(clock), new_store(clock)
    for store in (first, second):
        await store.open()
    await first.identity.create_project(Project("p-1", "p-1", "P", 1), None, None)
    assert await second.identity.is_empty()
    for store in (first, second):
        await store.close()
