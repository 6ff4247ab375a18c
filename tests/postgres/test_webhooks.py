"""Webhooks with many replicas: none overlooks a webhook that is there, and each delivery has one sender."""

import asyncio
import uuid

import asyncpg
import pytest

from runstead.core import limits
from runstead.core.queue.fair_share import FairShare
from runstead.core.webhooks.webhook import Webhook, secret_of
from runstead.engines.postgres.commit import draft
from tests.support.until import eventually

PROJECT = "11111111-1111-4111-8111-111111111111"


def webhook():
    fields = {"url": "https://a.test", "events": ("*",), "secret": secret_of(bytes(24))}
    return Webhook(id=str(uuid.uuid4()), project_id=PROJECT, created_at=1, updated_at=1, **fields)


def hooked(driver):
    return driver.store.webhooks.create(webhook(), lambda _: None)


async def delivered(driver, hook):
    found = await driver.store.webhooks.deliveries(PROJECT, hook.id, 1_000)
    return sorted((one.event_type, one.run_id) for one in found)


@pytest.fixture
async def session(databases, database):
    """session(name): a session beside the stores', in a transaction."""
    opened = []

    async def begin(application_name):
        settings = {"application_name": application_name}
        connection = await asyncpg.connect(databases.server.url(database), server_settings=settings)
        opened.append(connection)
        await connection.execute("BEGIN")
        await connection.execute("SELECT 1")
        return connection

    yield begin
    for connection in opened:
        connection.terminate()


async def test_a_new_webhook_is_acknowledged_after_the_transactions_that_missed_it(replicas, session, sql):
    one, other = await replicas(2)
    await one.create("a")
    held = await session("runstead")
    await held.execute("SELECT 1 FROM runs WHERE run_id = 'a' FOR UPDATE")
    # It has looked, finds no webhook, and waits for the row.
    completing = asyncio.ensure_future(one.complete("a"))
    await eventually(
        lambda: sql(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )
    creating = asyncio.ensure_future(hooked(other))
    await eventually(lambda: sql("SELECT 1 FROM webhooks"))
    done, _ = await asyncio.wait([creating], timeout=0.1)
    assert not done
    await held.execute("ROLLBACK")
    await completing
    hook = await creating
    await one.create("b")
    await one.complete("b")
    assert ("run.completed", "b") in await delivered(other, hook)


async def test_who_works_for_long_beside_the_server_holds_up_no_webhook(replicas, session, monkeypatch):
    (driver,) = await replicas(1)
    await session("pg_dump")
    monkeypatch.setattr(limits, "webhook_settle_s", 600)
    async with asyncio.timeout(30):
        await hooked(driver)
    await session("runstead")
    monkeypatch.setattr(limits, "webhook_settle_s", 0.1)
    await hooked(driver)


async def test_every_run_of_a_commit_group_is_delivered(replicas):
    (driver,) = await replicas(1)
    hook = await hooked(driver)
    names = [f"run-{number}" for number in range(20)]
    await asyncio.gather(*(driver.create(name) for name in names))
    await asyncio.gather(*(driver.claim() for _ in names), *(driver.complete(name) for name in names))
    found = await delivered(driver, hook)
    assert {name for kind, name in found if kind == "run.completed"} == set(names)
    assert len(found) == len(set(found))


async def test_a_change_that_is_taken_back_takes_its_event_along(replicas, sql):
    (driver,) = await replicas(1)
    await hooked(driver)
    await driver.create("a")
    # Fails where the deliveries are written already: the log of the family comes after them.
    await driver.create("b", parent="a")
    sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
    sql("CREATE TRIGGER no BEFORE INSERT ON run_families FOR EACH ROW EXECUTE FUNCTION refuse()")
    try:
        with pytest.raises(Exception, match="no"):
            await driver.complete("b")
    finally:
        sql("DROP TRIGGER no ON run_families")
        sql("DROP FUNCTION refuse()")
    assert [tuple(row) for row in sql("SELECT count(*) FROM webhook_deliveries")] == [(0,)]
    assert (await driver.row("b")).status == "pending"


async def test_every_replicas_deliverer_gets_others(replicas, sql):
    drivers = await replicas(4)
    await hooked(drivers[0])
    names = [f"run-{number}" for number in range(40)]
    await asyncio.gather(*(driver.create(name) for driver, name in zip(drivers * 10, names, strict=True)))
    await asyncio.gather(*(driver.complete(name) for driver, name in zip(drivers * 10, names, strict=True)))
    taken = []
    while True:
        found = await asyncio.gather(
            *(driver.store.webhooks.take(FairShare(5), 5, 60_000) for driver in drivers)
        )
        if not any(found):
            break
        taken += [delivery.id for some in found for _, delivery in some]
    assert len(taken) == len(set(taken)) == 40


async def test_a_project_without_webhooks_costs_no_statement_of_its_own(replicas, monkeypatch):
    (driver,) = await replicas(1)
    asked = []

    async def note(_, deliveries):
        asked.append(deliveries)

    monkeypatch.setattr(draft, "add_deliveries", note)
    await driver.create("a")
    await driver.claim()
    await driver.complete("a")
    assert asked == []
    await hooked(driver)
    await driver.create("b")
    await driver.claim()
    assert [one.event_type for deliveries in asked for one in deliveries] == ["run.started"]
