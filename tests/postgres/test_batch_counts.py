"""Counters of batches under many transactions at a time: right at the end, and one of them completes the batch."""

import asyncio
import random

from runstead.core.batches.batch import COUNTED
from runstead.core.runs.run import RunStatus

MEMBERS = 120
NOTING = (
    "CREATE TABLE ends (at bigint)",
    """CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF OLD.completed_at IS NULL AND NEW.completed_at IS NOT NULL THEN INSERT INTO ends VALUES (NEW.completed_at); END IF;
    RETURN NEW; END $$""",
    "CREATE TRIGGER note_end BEFORE UPDATE ON batches FOR EACH ROW EXECUTE FUNCTION note_end()",
)


async def settled(driver, sql, batch):
    """The batch, once its counters are seen to be what a count gives."""
    found = await driver.batch(batch)
    counted = dict(sql(f"SELECT status, count(*) FROM runs WHERE batch_id = '{batch.id}' GROUP BY status"))
    assert {name: getattr(found, name) for name in COUNTED} == {
        name: counted.get(name, 0) for name in COUNTED
    }
    [(opened,)] = sql(f"SELECT open_slots FROM batches WHERE id = '{batch.id}'")
    slots = sql(
        f"SELECT 1 FROM batch_counts WHERE batch_id = '{batch.id}' AND pending + running + waiting > 0"
    )
    assert opened == len(slots)
    return found


async def test_many_ends_at_once_are_all_counted_and_complete_the_batch_once(replicas, sql):
    drivers = await replicas(3)
    batch = (await drivers[0].create_batch(*(f"run-{n}" for n in range(MEMBERS)))).batch
    for statement in NOTING:
        sql(statement)
    try:
        order = [f"run-{n}" for n in range(MEMBERS)] * 2  # each is completed twice, by different replicas
        random.Random(1).shuffle(order)
        await asyncio.gather(
            *(drivers[n % 3].complete(name, ("completed", "failed")[n % 2]) for n, name in enumerate(order))
        )
        assert len(sql("SELECT at FROM ends")) == 1
    finally:
        for statement in ("DROP FUNCTION note_end CASCADE", "DROP TABLE ends"):
            sql(statement)
    found = await settled(drivers[0], sql, batch)
    assert (found.status, found.total) == ("completed", MEMBERS)


async def test_runs_that_join_while_the_last_ones_end_are_counted_or_refused(replicas, sql):
    drivers = await replicas(2)
    for turn in range(6):
        batch = (await drivers[0].create_batch(f"{turn}-a", f"{turn}-b")).batch

        async def join(n, batch=batch, turn=turn):
            return await drivers[n % 2].create(f"{turn}-late-{n}", batch_id=batch.id)

        ends = [drivers[0].complete(f"{turn}-a"), drivers[1].complete(f"{turn}-b")]
        results = await asyncio.gather(*(join(n) for n in range(8)), *ends, return_exceptions=True)
        refused = [one for one in results if isinstance(one, Exception)]
        assert {one.code for one in refused} <= {"BATCH_CLOSED"}, refused
        found = await settled(drivers[0], sql, batch)
        joined = 8 - len(refused)
        assert (found.total, found.completed) == (2 + joined, 2)
        assert found.status == ("running" if joined else "completed")


async def test_a_cancel_among_claims_and_ends_leaves_nothing_alive(replicas, sql):
    """Two replicas cancel the same batch, as a request and a loop do, while others work on it."""
    drivers = await replicas(3)
    batch = (await drivers[0].create_batch(*(f"run-{n}" for n in range(MEMBERS)))).batch
    for n in range(0, MEMBERS, 10):
        await drivers[0].create(f"below-{n}", parent=f"run-{n}", batch_id=batch.id if n % 20 else None)

    async def work(driver):
        for _ in range(5):
            for run in await driver.claim(limit=3):
                await driver.complete(run.run_id)

    async def cancel(driver):
        off = await driver.call_off(batch)
        while await driver.cancel_some(off.batch, 16):
            pass

    await asyncio.gather(work(drivers[0]), work(drivers[2]), cancel(drivers[0]), cancel(drivers[1]))
    found = await settled(drivers[2], sql, batch)
    assert (found.status, found.active) == ("cancelled", 0)
    below = [await drivers[0].row(f"below-{n}") for n in range(0, MEMBERS, 10)]
    assert {run.status for run in below} <= {RunStatus.CANCELLED, RunStatus.COMPLETED}
    parents = [await drivers[0].row(f"run-{n}") for n in range(0, MEMBERS, 10)]
    assert all(
        child.terminal
        for child, parent in zip(below, parents, strict=True)
        if parent.status is RunStatus.CANCELLED
    )


async def test_two_that_use_one_key_create_one_batch(replicas, idempotent, sql):
    drivers = await replicas(2)
    idempotency = idempotent(render=lambda made: (202, made.batch.id.encode()))
    outcomes = await asyncio.gather(
        *(driver.create_batch("a", "b", idempotency=idempotency) for driver in drivers),
        return_exceptions=True,
    )
    [made] = [one for one in outcomes if not isinstance(one, Exception)]
    [replayed] = [one for one in outcomes if isinstance(one, Exception)]
    assert replayed.body == made.batch.id.encode()
    assert len(sql("SELECT 1 FROM batches")) == 1
