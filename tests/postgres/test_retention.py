"""Retention drops months of events as whole partitions, without blocking writers."""

import asyncio
import time

import pytest

from runstead.commands.check import check

DAY = 86_400_000
OCTOBER = "run_events_2020_10"


@pytest.fixture
async def old(driver, event, sql):
    """A driver on whose store three runs of October 2020 have ended, in a partition of their own."""
    first, end = 1_601_510_400_000, 1_604_188_800_000
    sql(f"CREATE TABLE {OCTOBER} (LIKE run_events, PRIMARY KEY (run_seq, event_id))")
    sql(f"ALTER TABLE run_events ATTACH PARTITION {OCTOBER} FOR VALUES FROM ({first}) TO ({end})")
    for name in ("a", "b", "c"):
        await driver.create(name)
        await driver.append(name, event(), event())
        await driver.complete(name)
    sql(f"UPDATE run_events SET run_created_at = {first + DAY}")
    sql(f"UPDATE runs SET created_at = {first + DAY}, completed_at = {first + 2 * DAY}, duration_ms = {DAY}")
    sql("DELETE FROM rollup_entries")  # runs of that time ended before there were any
    sql("INSERT INTO rollup_backlog SELECT max(seq) + 1 FROM runs")
    yield driver
    sql(f"DROP TABLE IF EXISTS {OCTOBER}")


async def retire(driver, *names):
    page = await driver.store.retention.candidates(DAY, 0, 100)
    rows = {(await driver.row(name)).seq for name in names}
    return await driver.store.retention.retire(DAY, [(one, None) for one in page.runs if one.seq in rows])


def count(sql, table):
    return sql(f"SELECT count(*) FROM {table}")[0][0]


def partitions(sql):
    return {
        row[0]
        for row in sql(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'run_events'::regclass"
        )
    }


@pytest.fixture(autouse=True)
def only_its_own_months(sql):
    """Databases are used again: no month of another test's is in the way."""
    for name in partitions(sql):
        if name.startswith("run_events_20") and name < time.strftime("run_events_%Y_%m", time.gmtime()):
            sql(f"DROP TABLE {name}")


async def sound(driver):
    return [violation async for violation in check(driver.store)] == []


async def test_a_month_leaves_with_its_partition_once_all_its_runs_have_left(old, sql, event):
    await old.create("now")
    await old.append("now", event())
    assert await retire(old, "a", "b", "c") == 3
    assert count(sql, OCTOBER) == 9, "no event was deleted on its own"
    assert await sound(old)
    assert await old.store.retention.sweep(DAY) == 1
    assert OCTOBER not in partitions(sql)
    assert count(sql, "run_leftovers") == 0
    assert await old.store.retention.sweep(DAY) == 0
    assert len(await old.log("now")) == 1
    assert await sound(old)


async def test_a_month_with_a_run_that_stays_gives_back_the_others_rows(old, sql):
    assert await retire(old, "a", "b") == 2
    assert await old.store.retention.sweep(DAY) == 2
    assert (count(sql, OCTOBER), count(sql, "run_leftovers")) == (3, 0)
    assert len(await old.log("c")) == 3
    assert await sound(old)


async def test_a_month_that_is_not_over_since_the_age_waits(old, sql):
    assert await retire(old, "a", "b", "c") == 3
    until_then = int(time.time() * 1000) - 1_603_000_000_000  # the middle of that October
    assert await old.store.retention.sweep(until_then) == 0
    assert count(sql, OCTOBER) == 9
    assert await sound(old)


async def test_a_locked_partition_is_dropped_later_and_blocks_no_writer(
    patient, old, sql, event, databases, database
):
    assert await retire(old, "a", "b", "c") == 3
    sql("BEGIN")
    try:
        sql("SELECT 1 FROM run_events LIMIT 1")
        async with asyncio.timeout(60):
            assert await old.store.retention.sweep(DAY) == 0
        await old.create("meanwhile")
        await old.append("meanwhile", event())
    finally:
        sql("COMMIT")
    assert count(sql, OCTOBER) == 9
    assert await old.store.retention.sweep(DAY) == 1
    assert OCTOBER not in partitions(sql)
