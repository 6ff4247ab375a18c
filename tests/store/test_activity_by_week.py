"""Sums by week, of which charts over years are made: exact at any moment, and filled once in a store that has none."""

from collections import Counter

import msgspec
import pytest

from runstead.core.conversations.conversation import Conversation
from runstead.core.runs.transition import NewMessage
from runstead.core.usage.rollup import DAY, WEEK, packed, unpacked
from tests.support.clock import NOON
from tests.support.store_driver import PROJECT

from .rollup_app import AGENT, ELSEWHERE, activity, complete, fold_all, open_app, sound

MIGRATIONS = {"sqlite": "0022_activity_by_week", "postgres": "0019_activity_by_week"}
COLUMNS = "project_id, way, name, bucket, kind, status, runs, durations"
YEARS = NOON - 365 * DAY, NOON + 365 * DAY


@pytest.fixture
async def app(store):
    return await open_app(store)


@pytest.fixture
def execute(store, engine):
    """execute(sql, *values): in the store's database; the rows. A value stands where SQL says `$1`."""
    if engine == "memory":
        pytest.skip("memory is never older than the program")

    async def execute(sql, *values):
        if engine == "sqlite":
            plain = sql.replace("$", "?")
            return await store._writer.do(lambda connection, _: connection.execute(plain, values).fetchall())

        async def job(connection, _):
            return [tuple(row) for row in await connection.fetch(sql, *values)]

        return await store._writer.do(job)

    return execute


@pytest.fixture
def migrate_again(execute, store, engine):
    """Forget the sums by week, and make them as if the store was older."""

    async def migrate_again():
        await execute(f"DELETE FROM activity_rollups WHERE width = {WEEK}")
        await execute(f"DELETE FROM schema_migrations WHERE name = '{MIGRATIONS[engine]}'")
        assert await store.migrate() == [MIGRATIONS[engine]]

    return migrate_again


async def weeks(execute):
    rows = await execute(f"SELECT {COLUMNS} FROM activity_rollups WHERE width = {WEEK}")
    return {tuple(key): (runs, unpacked(bytes(durations))) for *key, runs, durations in rows}


async def over_weeks(driver, clock):
    """Runs on 16 days, that took from nothing to 40 days."""
    for n, took in enumerate((0, 1, 127, 128, 300, 33_000, 70_000, 40 * DAY)):
        run_id, status = f"run-{n}", "failed" if n == 2 else "completed"
        await driver.create(run_id, target=f"task:{n % 3}", schedule_id="nightly" if n % 2 else None)
        clock.advance_ms(took)
        await driver.complete(run_id, status)
        await complete(driver, f"quick-{n}")
        clock.advance_ms(2 * DAY)


async def test_a_store_without_weeks_gets_those_that_a_tick_would_have_made(
    app, driver, clock, execute, migrate_again
):
    await over_weeks(driver, clock)
    await fold_all(driver.store)
    made, chart = await weeks(execute), await activity(app, *YEARS, 60)
    assert len({key[3] for key in made}) > 2
    assert chart.total.counts == {"completed": 15, "failed": 1}
    await migrate_again()
    assert await weeks(execute) == made
    assert await activity(app, *YEARS, 60) == chart
    await sound(driver.store)


async def test_a_store_without_weeks_keeps_what_is_not_added_up_yet(
    app, driver, clock, execute, migrate_again
):
    await over_weeks(driver, clock)
    await driver.store.rollups.add_entries(7)
    chart = await activity(app, *YEARS, 60)
    await migrate_again()
    for _ in range(2):
        assert await activity(app, *YEARS, 60) == chart
        await sound(driver.store)
        await fold_all(driver.store)


async def test_durations_of_every_size_and_sign_are_merged_exactly(driver, execute, migrate_again):
    numbers = [0, 1, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2**31 - 1, 2**31, 2**32, 2**40]
    signed = [sign * (n + 1) for n in numbers for sign in (1, -1)]
    # A map of MessagePack says its size in a part of a byte, in two bytes, and in four.
    parts = [Counter(dict.fromkeys(range(n), 1)) for n in (0, 3, 70_000)]
    parts += [Counter(dict(zip(numbers, signed[at:], strict=False))) for at in (0, 5)]
    parts += [Counter({5: 1}), Counter({5: -1})]
    for day, durations in enumerate(parts):
        await execute(
            "INSERT INTO activity_rollups (project_id, way, name, width, bucket, kind, status, runs, durations)"
            f" VALUES ('p', 'all', '', {DAY}, $1, 'task', 'completed', $2, $3)",
            day * DAY,
            day,
            packed(durations),
        )
    await migrate_again()
    wanted = Counter()
    for durations in parts:
        wanted.update(durations)
    key = ("p", "all", "", 0, "task", "completed")
    assert await weeks(execute) == {key: (21, {ms: count for ms, count in wanted.items() if count})}


async def test_a_chart_over_years_is_the_same_before_during_and_after_a_tick(app, driver, clock):
    await over_weeks(driver, clock)
    await driver.create("pending")
    chart = await activity(app, *YEARS, 60)
    assert chart.width_ms % WEEK == 0
    assert sum(bucket.runs > 0 for bucket in chart.buckets) > 1
    assert chart.total.counts == {"completed": 15, "failed": 1, "pending": 1}
    while await driver.store.rollups.add_entries(3):
        assert await activity(app, *YEARS, 60) == chart
        await sound(driver.store)


@pytest.mark.parametrize("folded", [False, True])
async def test_a_chart_over_years_lacks_deleted_runs_and_those_that_moved(app, driver, clock, folded):
    await driver.store.conversations.create(Conversation("c-1", PROJECT, "chat", 1, 1))
    await complete(driver, "told", conversation_id="c-1", message=NewMessage("m-1", "c-1", None), **AGENT)
    clock.advance_ms(WEEK)
    await complete(driver, "gone")
    await complete(driver, "kept")
    if folded:
        await fold_all(driver.store)
    await driver.delete("gone")
    await driver.store.conversations.change(
        "c-1", lambda old, _now: msgspec.structs.replace(old, project_id=ELSEWHERE)
    )
    for _ in range(2):
        assert (await activity(app, *YEARS, 60)).total.counts == {"completed": 1}
        assert (await activity(app, *YEARS, 60, project=ELSEWHERE)).total.counts == {"completed": 1}
        await sound(driver.store)
        await fold_all(driver.store)
