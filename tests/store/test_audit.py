"""The audit log of a store: append-only, written with the change, and deleted when it is old."""

import asyncio
from itertools import pairwise

import msgspec
import pytest

from runstead.core.audit import Audit, ObjectName, by
from runstead.core.identity.principal import Principal
from runstead.core.runs import transitions
from runstead.core.runs.transition import Want, audited
from runstead.core.usage.price import Price
from runstead.engines.sqlite.sql import DIALECT
from runstead.ports.store import AuditQuery
from tests.support.store_driver import PROJECT

WHO = Principal("user", "ada", {}, name="Ada")


def noted(number=0, project=PROJECT):
    return Audit(
        action="session.refuse",
        actor_kind="unknown",
        actor_id="",
        projects=(project,),
        object=ObjectName("session", str(number)),
        details={"number": number},
    )


async def entries(store, project=PROJECT, **query):
    return await store.audit.page(AuditQuery(project, **({"limit": 100} | query)))


async def cancel(driver, run_id, audit):
    def decide(loaded):
        return transitions.cancel(loaded.run, now=loaded.now, reason=None)

    return await driver.runs.apply(driver.key(run_id), audited(decide, audit), Want())


async def execute(store, engine, sql):
    """Run a statement on the database, past the store."""
    if engine == "sqlite":
        return await store._writer.do(lambda c, _now: c.execute(sql).rowcount)
    return await store._writer.do(lambda c, _now: c.execute(sql))


@pytest.mark.parametrize(
    "sql", ["UPDATE audit_entries SET actor_id = 'eve'", "UPDATE audit_entries SET at = at + 1"]
)
async def test_the_database_refuses_to_change_an_entry(store, engine, sql):
    await store.audit.add(noted())
    before = await entries(store)
    with pytest.raises(Exception, match=r"never changed|commit"):
        await execute(store, engine, sql)
    assert await entries(store) == before != []


@pytest.mark.parametrize("sql", ["DELETE FROM audit_entries", "TRUNCATE audit_entries"])
async def test_the_database_refuses_to_delete_an_entry(store, engine, clock, sql):
    """Also after retention has deleted other entries, and entries that retention is about to delete."""
    if engine == "sqlite" and "TRUNCATE" in sql:
        pytest.skip("SQLite has no TRUNCATE")
    await store.audit.add(noted(1))
    clock.advance(60)
    await store.audit.add(noted(2))
    assert await store.audit.expire(30_000, 10) == 1
    clock.advance(60)
    before = await entries(store)
    with pytest.raises(Exception, match=r"by its retention only|commit"):
        await execute(store, engine, sql)
    assert await entries(store) == before != []


async def test_a_cancelled_family_leaves_one_entry_of_its_root(driver):
    await driver.create("root")
    await driver.create("child", parent="root")
    await cancel(driver, "root", by(WHO, "run.cancel", PROJECT))
    (entry,) = await entries(driver.store)
    assert (entry.object_id, entry.actor_name) == ("root", "Ada")
    assert entry.at == (await driver.row("root")).updated_at
    assert (await driver.row("child")).status == "cancelled"


async def test_many_cancels_in_one_commit_leave_an_entry_each(driver):
    run_ids = [(await driver.create()).run_id for _ in range(20)]
    await asyncio.gather(*(cancel(driver, run_id, by(WHO, "run.cancel", PROJECT)) for run_id in run_ids))
    assert sorted(entry.object_id for entry in await entries(driver.store)) == sorted(run_ids)


async def test_a_command_without_an_audit_leaves_no_entry(driver):
    await driver.create("run")
    await driver.cancel("run")
    await driver.store.prices.put(Price(PROJECT, "acme", "m", 1, 2), lambda _count: None)
    assert await entries(driver.store) == []


async def test_a_guard_that_refuses_leaves_no_entry(store):
    def refuse(_count):
        raise ZeroDivisionError

    recording = store.recording(by(WHO, "price.put", PROJECT))
    with pytest.raises(ZeroDivisionError):
        await recording.prices.put(Price(PROJECT, "acme", "m", 1, 2), refuse)
    assert await entries(store) == []


async def test_concurrent_changes_are_recorded_in_the_order_of_their_effects(store):
    """Each entry's `before` is the `after` of the entry that preceded it."""
    recording = store.recording(by(WHO, "price.put", PROJECT))
    await asyncio.gather(
        *(
            recording.prices.put(Price(PROJECT, "acme", "m", number, 2), lambda _count: None)
            for number in range(10)
        )
    )
    changes = [msgspec.json.decode(entry.change) for entry in (await entries(store))[::-1]]
    assert len(changes) == 10
    for earlier, later in pairwise(changes):
        assert later["before"]["input"] == earlier["after"]["input"]


async def test_pages_continue_within_one_millisecond(store):
    for number in range(5):
        await store.audit.add(noted(number))
    found, before = [], None
    while page := await entries(store, limit=2, before=before):
        found += [entry.object_id for entry in page]
        before = (page[-1].at, page[-1].seq)
    assert found == ["4", "3", "2", "1", "0"]


async def test_old_entries_are_deleted_oldest_first_and_a_bounded_number(store, clock):
    for number in range(4):
        await store.audit.add(noted(number))
        clock.advance(10)
    assert await store.audit.expire(25_000, 1) == 1
    assert [entry.object_id for entry in await entries(store)] == ["3", "2", "1"]
    assert await store.audit.expire(25_000, 10) == 1
    assert await store.audit.expire(25_000, 10) == 0
    assert [entry.object_id for entry in await entries(store)] == ["3", "2"]


async def test_an_entry_is_of_its_project_alone(store):
    await store.audit.add(noted(1))
    await store.audit.add(noted(2, "elsewhere"))
    assert [entry.object_id for entry in await entries(store)] == ["1"]
    assert [entry.object_id for entry in await entries(store, "elsewhere")] == ["2"]


async def test_each_filter_reads_its_own_index(store, engine):
    """A project with many entries is not scanned for the entries of one object."""
    if engine != "sqlite":
        pytest.skip("PostgreSQL plans by statistics")
    for name, index in (
        ("audit_page", "audit_entries_by_project"),
        ("audit_page_of_object", "audit_entries_by_object"),
        ("audit_page_of_actor", "audit_entries_by_actor"),
        ("audit_page_of_action", "audit_entries_by_action"),
    ):
        statement = DIALECT.statement(name)
        sql = "EXPLAIN QUERY PLAN " + statement.text
        arguments = [1] * len(statement.parameters)
        plan = await store._readers.do(lambda c, q=sql, a=arguments: c.execute(q, a).fetchall())
        text = " ".join(row[-1] for row in plan)
        assert f"USING INDEX {index} " in text, text
        assert "TEMP B-TREE" not in text
