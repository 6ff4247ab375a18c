"""The schema: made once, however many start together; and its partitions."""

import asyncio
import itertools

import asyncpg
import pytest

from runstead.core.clock import iso
from runstead.engines.postgres import migrate as migrations
from runstead.engines.postgres.migrate import migrate, refuse_old_server
from runstead.engines.postgres.partitions import make_partitions, months_from
from runstead.engines.postgres.store import PostgresStore
from runstead.engines.sql.sql_files import NewerStoreError

numbers = itertools.count()


@pytest.fixture
async def empty(databases):
    """The URL of a database without migrations."""
    name = f"empty_{next(numbers)}"
    admin = await asyncpg.connect(databases.server.url())
    await admin.execute(f"CREATE DATABASE {name}")
    yield databases.server.url(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def session(empty):
    made = await asyncpg.connect(empty)
    yield made
    await made.close()


async def test_ten_replicas_that_start_at_once_migrate_once(empty, session, monkeypatch):
    applied = []

    async def counted(connection):
        names = await migrate(connection)
        applied.extend(names)
        return names

    monkeypatch.setattr("runstead.engines.postgres.store.migrate", counted)
    stores = [PostgresStore(empty) for _ in range(10)]
    await asyncio.gather(*(store.open() for store in stores))
    assert len(applied) == len(set(applied)) > 0
    assert [row[0] for row in await session.fetch("SELECT name FROM schema_migrations ORDER BY 1")] == sorted(
        applied
    )
    checks = await asyncio.gather(*(store.check() for store in stores))
    assert {facts["engine"] for facts in checks} == {"postgres"}
    for store in stores:
        await store.close()


async def test_pending_migrations_are_listed_and_none_is_applied(empty, session):
    listed = await PostgresStore(empty).pending()
    assert [one.name for one in listed] == list(migrations._known())
    assert await session.fetchval("SELECT to_regclass('schema_migrations')") is None
    await migrate(session)
    assert await PostgresStore(empty).pending() == []


async def test_a_migrated_database_is_left_alone(empty, session):
    assert await migrate(session) != []
    assert await migrate(session) == []


async def test_a_migration_that_fails_leaves_nothing(session, monkeypatch):
    known = migrations._known()
    monkeypatch.setattr(
        migrations, "_known", lambda: known | {"9999_bad": "CREATE TABLE half (n int); SELECT 1 / 0"}
    )
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(session)
    assert await session.fetchval("SELECT to_regclass('half')") is None
    assert {row[0] for row in await session.fetch("SELECT name FROM schema_migrations")} == known.keys()


async def test_a_database_of_a_newer_program_is_refused(empty, session):
    await migrate(session)
    await session.execute("INSERT INTO schema_migrations VALUES ('9999_later', 0)")
    for use in (PostgresStore(empty).open, PostgresStore(empty).migrate, PostgresStore(empty).pending):
        with pytest.raises(
            NewerStoreError, match=r"install the version that migrated it.* restore the backup"
        ):
            await use()


async def test_an_old_server_is_refused(session, monkeypatch):
    refuse_old_server(session)
    monkeypatch.setattr(migrations, "VERSION_MIN", 99)
    with pytest.raises(RuntimeError, match="is too old: Runstead needs 99 or newer"):
        refuse_old_server(session)


def test_months_follow_each_other_without_a_gap():
    months = months_from(1_793_620_800_000, 4)  # 2026-11-02
    assert [name for name, _, _ in months] == [
        f"run_events_{m}" for m in ("2026_11", "2026_12", "2027_01", "2027_02")
    ]
    assert iso(months[0][1]) == "2026-11-01T00:00:00.000Z"
    assert all(end == start for (_, _, end), (_, start, _) in itertools.pairwise(months))


async def test_the_next_months_have_their_partitions(replicas, sql):
    [driver] = await replicas(1)
    [(now,)] = sql("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    there = {row[0] for row in sql("SELECT relid::text FROM pg_partition_tree('run_events') WHERE isleaf")}
    assert there >= {name for name, _, _ in months_from(now, 3)} | {"run_events_other"}
    await driver.complete((await driver.create("run-1")).run_id)
    [(table,)] = sql("SELECT tableoid::regclass::text FROM run_events")
    assert table == months_from(now, 1)[0][0]


async def test_partitions_are_made_once_by_many(empty, session):
    await migrate(session)
    others = [await asyncpg.connect(empty) for _ in range(5)]
    made = await asyncio.gather(*(make_partitions(other, 0) for other in others))
    assert sorted(itertools.chain(*made)) == [
        "run_events_1970_01",
        "run_events_1970_02",
        "run_events_1970_03",
    ]
    for other in others:
        await other.close()


async def test_a_month_whose_events_are_elsewhere_already_stays_there(empty, session):
    await migrate(session)
    await session.execute("INSERT INTO run_events VALUES (0, 1, 0, 1, 0, 0, 'CUSTOM', '{}')")
    assert await make_partitions(session, 0) == ["run_events_1970_02", "run_events_1970_03"]
    assert await session.fetchval("SELECT count(*) FROM run_events") == 1


async def test_the_expiry_loop_creates_partitions_for_future_months(driver, databases, database):
    admin = await asyncpg.connect(databases.server.url(database))
    last = await admin.fetchval(
        "SELECT max(relid::text) FROM pg_partition_tree('run_events') WHERE relid::text ~ '[0-9]$'"
    )
    await admin.execute(f"DROP TABLE {last}")
    await driver.store.forget(0, 100)
    assert await admin.fetchval("SELECT to_regclass($1)", last) is None  # looked at today already
    driver.store._partitions_at -= 90_000
    await driver.store.forget(0, 100)
    assert await admin.fetchval("SELECT to_regclass($1)", last) is not None
    await admin.close()


async def test_reading_a_log_reads_one_partition(driver, event, databases, database):
    from runstead.engines.postgres.sql import Q

    await driver.create("run-1")
    await driver.append("run-1", event())
    run = await driver.row("run-1")
    admin = await asyncpg.connect(databases.server.url(database))
    await admin.execute("SET plan_cache_mode = force_generic_plan")
    plan = await admin.fetch(
        "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + Q["events_after"], run.seq, 0, 10, None, 1
    )
    plan_text = "\n".join(row[0] for row in plan)
    assert plan_text.count("never executed") + plan_text.count("Subplans Removed: 3") >= 1, plan_text
    await admin.close()
