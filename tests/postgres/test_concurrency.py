"""Limits on running runs hold among replicas, to the last run."""

import asyncio

import asyncpg

from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.engines.postgres.related import DRIVER
from runstead.engines.sql.steps import LockSpace, lock

PROJECT = "11111111-1111-4111-8111-111111111111"


async def test_eight_claimers_on_three_replicas_never_exceed_a_limit(replicas):
    drivers = await replicas(3)
    store = drivers[0].store
    await store.concurrency.put(
        PROJECT, [ConcurrencyLimit(None, 5), ConcurrencyLimit("task:a", 2), ConcurrencyLimit("task:c", 3)]
    )
    names = [f"run-{n:02}" for n in range(60)]
    await asyncio.gather(
        *(drivers[0].create(name, target=f"task:{'abc'[n % 3]}") for n, name in enumerate(names))
    )
    done, exceeded, seen = [], [], set()

    async def work(number):
        driver = drivers[number % 3]
        query = [{}, {"targets": ("task:a", "task:b")}, {"targets": ("task:c",)}, {"targets": ("task:b",)}]
        while len(done) < 60:
            found = await driver.claim(f"w-{number}", limit=1 + number % 3, **query[number % 4])
            listed = await driver.store.concurrency.of(PROJECT)
            seen.update((one.limit.target, one.running) for one in listed)
            exceeded.extend(one for one in listed if one.running > one.limit.max_running)
            for run in found:
                await driver.complete(run.run_id)
                done.append(run.run_id)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(n) for n in range(8)))
    assert sorted(done) == names
    assert exceeded == []
    assert {(None, 5), ("task:c", 3)} & seen, "no limit was ever reached"


async def test_pushes_of_three_replicas_keep_to_a_limit(replicas):
    drivers = await replicas(3)
    await drivers[0].store.concurrency.put(PROJECT, [ConcurrencyLimit("agent:a", 3)])
    for n in range(12):
        await drivers[0].create(f"run-{n:02}", kind="agent", push_service_id="service-1", target="agent:a")
    taken = await asyncio.gather(*(drivers[n % 3].dispatch(2) for n in range(9)))
    assert sum(map(len, taken)) == 3


async def test_a_limit_that_is_set_while_others_claim_is_kept_from_then_on(replicas):
    drivers = await replicas(2)
    await asyncio.gather(*(drivers[0].create(f"run-{n}") for n in range(30)))
    claims = [asyncio.ensure_future(drivers[n % 2].claim(f"w-{n}")) for n in range(10)]
    await drivers[0].store.concurrency.put(PROJECT, [ConcurrencyLimit(None, 0)])
    before = sum(len(found) for found in await asyncio.gather(*claims))
    assert await asyncio.gather(*(drivers[n % 2].claim(f"w-{n}", limit=5) for n in range(6))) == [[]] * 6
    [listed] = await drivers[1].store.concurrency.of(PROJECT)
    assert listed.running == before


async def test_claims_elsewhere_do_not_wait_for_a_project_with_limits(patient, replicas):
    drivers = await replicas(2)
    await drivers[0].store.concurrency.put(PROJECT, [ConcurrencyLimit(None, 1)])
    await drivers[0].create("run-1")
    await drivers[0].create("other", project_id="p-2")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hold(transaction):
        from runstead.engines.postgres.related import lock_slots

        await transaction.moment()
        await lock_slots(transaction, [PROJECT])
        begun.set()
        await go_on.wait()

    holding = asyncio.ensure_future(drivers[1].store._writer.run(hold))
    await begun.wait()
    held_up = asyncio.ensure_future(drivers[0].claim_ids())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert await drivers[1].claim_ids(project_id="p-2") == ["other"]
    assert not held_up.done()
    go_on.set()
    await holding
    assert await held_up == ["run-1"]


async def test_a_claim_that_waits_for_the_count_of_a_project_with_limits_holds_no_run(
    replicas, databases, database
):
    """Its first statement finds the limits as well as the next run; a run held from then on would be nobody else's."""
    [driver] = await replicas(1)
    await driver.store.concurrency.put(PROJECT, [ConcurrencyLimit(None, 1)])
    await driver.create("run-1")
    session = await asyncpg.connect(databases.server.url(database))
    await session.execute("BEGIN")
    await DRIVER.run(session, lock(LockSpace.RUNNING, [PROJECT]))
    claim = asyncio.ensure_future(driver.claim())
    while not await session.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    ):
        assert not claim.done()
    assert await session.fetchval("SELECT run_id FROM runs FOR UPDATE NOWAIT") == "run-1"
    await session.execute("COMMIT")
    await session.close()
    assert [run.run_id for run in await claim] == ["run-1"]


async def test_a_claim_by_itself_asks_once_and_writes_once(driver, monkeypatch):
    await driver.create("run-1")
    seen = []
    for name in ("execute", "fetch", "fetchrow"):
        ask = getattr(asyncpg.Connection, name)

        async def noted(self, query, *arguments, ask=ask, **options):
            seen.append(query)
            return await ask(self, query, *arguments, **options)

        monkeypatch.setattr(asyncpg.Connection, name, noted)
    assert await driver.claim_ids() == ["run-1"]
    asked = [query for query in seen if "runs" in query]
    assert len(asked) == 2
    assert asked[1].startswith("UPDATE runs")
