"""Keys of runs hold among replicas: of many requests at once, one creates a run."""

import asyncio
import re
import uuid
from collections import Counter

from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.core.queue.rate import Rate
from runstead.core.runs.flow import Debounce, Flow, Unique
from runstead.core.runs.transitions import fire_due
from runstead.core.schedules.schedule import Schedule, stored_flow
from runstead.engines.postgres.connection import connect
from runstead.engines.postgres.related import DRIVER
from runstead.engines.postgres.sql import DIALECT
from runstead.engines.sql.steps import LockSpace, lock
from tests.support.store_driver import PROJECT

from .test_plans import EXPLAIN


async def test_two_replicas_create_one_run_of_a_unique_key(replicas):
    drivers = await replicas(2)
    for round_ in range(5):
        flow = Flow(unique=Unique(f"key-{round_}"))
        made = await asyncio.gather(
            *(drivers[n % 2].created(f"run-{round_}-{n}", flow=flow) for n in range(6))
        )
        assert len({one.run.run_id for one in made}) == 1
        assert sum(not one.transition.duplicate for one in made) == 1


async def test_two_replicas_count_each_debounced_request_once(replicas):
    drivers = await replicas(2)
    flow = Flow(debounce=Debounce("report", 60))
    await asyncio.gather(*(drivers[n % 2].created(f"run-{n}", flow=flow) for n in range(12)))
    [run] = await drivers[0].rows()
    assert run.debounced == 11


DUE = "UPDATE schedules SET next_fire_at = (extract(epoch FROM now()) * 1000)::bigint - 1, version = version + 1"


async def scheduled(driver, flow):
    times = {"schedule": "0 0 1 1 *", "created_at": 1, "updated_at": 1, "concurrency_policy": "Allow"}
    mine = Schedule(
        id=str(uuid.uuid4()),
        project_id=PROJECT,
        name="n",
        target_kind="task",
        target_id="t",
        flow=stored_flow(flow.unique, flow.debounce),
        **times,
    )
    return await driver.store.schedules.create(PROJECT, lambda *_: mine)


async def test_a_firing_waits_for_the_lock_of_its_key_and_holds_nothing_else(
    replicas, sql, databases, database
):
    drivers = await replicas(2)
    flow = Flow(unique=Unique("u"))
    mine = await scheduled(drivers[0], flow)
    sql(DUE)
    session = await connect(databases.server.url(database))
    await session.execute("BEGIN")
    await DRIVER.run(session, lock(LockSpace.RUN_KEYS, [f"unique\n{PROJECT}\ntask:t\nu"]))
    firing = asyncio.ensure_future(drivers[0].runs.fire(9, fire_due))
    create = asyncio.ensure_future(drivers[1].created("run-1", target="task:t", flow=flow))
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(60):
        while await session.fetchval(waiting) < 2:
            assert not any(task.done() for task in (firing, create))
    assert await session.fetchval("SELECT id FROM schedules FOR UPDATE NOWAIT") == mine.id
    await session.execute("COMMIT")
    await session.close()
    await asyncio.gather(firing, create)
    assert len(await drivers[0].rows()) == 1


async def test_replicas_that_fire_and_create_at_the_same_time_make_one_run_of_a_key(replicas, sql):
    drivers = await replicas(3)
    flow = Flow(unique=Unique("u"))
    mine = await scheduled(drivers[0], flow)
    for turn in range(8):
        sql(DUE)
        work = [driver.runs.fire(9, fire_due) for driver in drivers for _ in range(2)]
        work += [drivers[n % 3].created(f"run-{turn}-{n}", target="task:t", flow=flow) for n in range(6)]
        await asyncio.gather(*work)
        [run] = [run for run in await drivers[0].rows() if not run.terminal]
        await drivers[turn % 3].complete(run.run_id)
    while await drivers[0].runs.fire(9, fire_due):
        pass
    after = await drivers[0].store.schedules.get(PROJECT, mine.id)
    assert 1 <= after.run_count + after.skipped_count <= 9


async def test_creates_of_children_with_the_parents_key_do_not_wait_for_each_other(replicas):
    drivers = await replicas(2)
    flow = Flow(unique=Unique("family"))
    await drivers[0].created("parent", flow=flow)
    await drivers[0].create("other")
    made = await asyncio.gather(
        *(drivers[n % 2].created(f"run-{n}", parent=("parent", "other")[n % 2], flow=flow) for n in range(8))
    )
    assert {one.run.run_id for one in made} == {"parent"}


async def test_claims_of_two_replicas_keep_to_the_limit_of_each_key(replicas):
    drivers = await replicas(2)
    store = drivers[0].store
    await store.concurrency.put(PROJECT, [ConcurrencyLimit("task:t", None, 2)])
    names = [f"{key}-{n}" for n in range(8) for key in "abc"]
    await asyncio.gather(
        *(drivers[0].created(name, target="task:t", flow=Flow(concurrency_key=name[0])) for name in names)
    )
    running, done, most = Counter(), [], Counter()

    async def work(number):
        driver = drivers[number % 2]
        while len(done) < len(names):
            for run in await driver.claim(f"w-{number}", limit=1 + number % 3):
                running[run.concurrency_key] += 1
                most[run.concurrency_key] = max(most[run.concurrency_key], running[run.concurrency_key])
                await asyncio.sleep(0)
                running[run.concurrency_key] -= 1  # before the server counts it as ended
                await driver.complete(run.run_id)
                done.append(run.run_id)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(n) for n in range(8)))
    assert sorted(done) == sorted(names)
    assert max(most.values()) <= 2


async def test_claims_of_two_replicas_keep_to_a_rate(replicas):
    """The bound is that of the database's time, which each start has."""
    drivers = await replicas(2)
    rate = Rate(20, 1)
    await drivers[0].store.concurrency.put(PROJECT, [ConcurrencyLimit("task:t", rate=rate)])
    await asyncio.gather(*(drivers[n % 2].create(f"run-{n}", target="task:t") for n in range(50)))
    starts = []

    async def work(number):
        driver = drivers[number % 2]
        while len(starts) < 40:
            claimed = await driver.claim(f"w-{number}", limit=1 + number % 3)
            starts.extend(run.updated_at for run in claimed)
            await asyncio.sleep(0.01)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(n) for n in range(6)))
    starts.sort()
    for first, begin in enumerate(starts):
        for number, at in enumerate(starts[first:], start=1):
            assert number * rate.period_ms <= rate.limit * (rate.period_ms + at - begin)


async def test_two_claims_at_the_last_token_get_one_run(replicas):
    drivers = await replicas(2)
    await drivers[0].store.concurrency.put(PROJECT, [ConcurrencyLimit("task:t", rate=Rate(1, 86_400))])
    for name in ("a", "b"):
        await drivers[0].create(name, target="task:t")
    claimed = await asyncio.gather(*(driver.claim(f"w-{n}") for n, driver in enumerate(drivers * 2)))
    assert [run.run_id for found in claimed for run in found] == ["a"]


async def test_reports_at_two_replicas_and_claims_beside_them_lose_no_token(replicas):
    drivers = await replicas(2)
    limit = ConcurrencyLimit("task:t", rate=Rate(10_000, 86_400, unit="tokens"))
    await drivers[0].store.concurrency.put(PROJECT, [limit])
    await asyncio.gather(*(drivers[n % 2].create(f"run-{n}", target="task:t") for n in range(40)))

    async def work(number):
        driver = drivers[number % 2]
        while claimed := await driver.claim(f"w-{number}", limit=2):
            for run in claimed:
                await driver.report(run.run_id, 3)
                await driver.report(run.run_id, 4)
                await driver.complete(run.run_id, metadata=b'{"inputTokens":10,"outputTokens":0}')

    async with asyncio.timeout(60):
        await asyncio.gather(*(work(n) for n in range(6)))
    [shown] = await drivers[1].store.concurrency.of(PROJECT)
    assert shown.rate_left == 10_000 - 40 * 10


async def test_no_replica_starts_a_run_after_the_tokens_are_used(replicas):
    drivers = await replicas(2)
    await drivers[0].store.concurrency.put(
        PROJECT, [ConcurrencyLimit("task:t", rate=Rate(10, 86_400, unit="tokens"))]
    )
    for name in ("a", "b"):
        await drivers[0].create(name, target="task:t")
    [run] = await drivers[0].claim()
    await drivers[0].report(run.run_id, 10)
    claimed = await asyncio.gather(*(driver.claim(f"w-{n}") for n, driver in enumerate(drivers * 2)))
    assert claimed == [[], [], [], []]


async def test_two_claims_at_the_last_slot_of_a_key_get_one_run(replicas):
    drivers = await replicas(2)
    await drivers[0].store.concurrency.put(PROJECT, [ConcurrencyLimit("task:t", None, 1)])
    for name in ("a-1", "a-2"):
        await drivers[0].created(name, target="task:t", flow=Flow(concurrency_key="a"))
    claimed = await asyncio.gather(*(driver.claim(f"w-{n}") for n, driver in enumerate(drivers * 2)))
    assert [run.run_id for found in claimed for run in found] == ["a-1"]


async def test_a_claim_finds_the_next_key_by_its_index_though_one_key_had_all_runs(
    driver, databases, database
):
    """The statistics are those of a backlog of one key: any index seems to find a due run of the next key at once."""
    key = Flow(concurrency_key="a")
    await asyncio.gather(*(driver.created(f"a-{n}", target="task:t", flow=key) for n in range(300)))
    statement = DIALECT.statement("turns").text
    connection = await connect(databases.server.url(database))
    try:
        await connection.execute("VACUUM ANALYZE runs")
        await connection.execute(EXPLAIN)
        for visible in ("relpages", "0"):  # of visible pages, an index alone may be read
            await connection.execute(
                f"UPDATE pg_class SET relallvisible = {visible} WHERE oid = 'runs'::regclass"
            )
            plan = await connection.fetchval("SELECT pg_temp.plan($1)", statement)
            used = set(re.findall(r'"Index Name": "(runs\w*)"', plan))
            assert used == {"runs_due_of_key", "runs_running_key"}
    finally:
        await connection.close()
