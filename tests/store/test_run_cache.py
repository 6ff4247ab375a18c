"""What SQLite's writer knows of the file without reading it is never staler than the file, and bounded."""

import sqlite3
from contextlib import closing

import pytest

from runstead.core import limits
from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.core.webhooks.webhook import Webhook, secret_of
from runstead.engines.sql import run_index
from runstead.ports.store import RetentionCandidate
from tests.support.store_driver import PROJECT


@pytest.fixture
def path(tmp_path):
    return tmp_path / "one.db"


@pytest.fixture
async def driver(driver_at, path):
    return await driver_at(path)


@pytest.fixture
def known(driver):
    """known(run_id): whether the writer knows the run without reading it."""
    return lambda run_id: driver.store._writer.cache.get(driver.key(run_id)) is not None


async def test_a_change_by_another_process_between_two_commands_is_seen(driver, path, known):
    run = await driver.create("run-1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE runs SET title = 'theirs', version = version + 1")
    assert known("run-1")  # not checked yet
    written = await driver.touch("run-1", target="mine")
    assert (written.before.title, written.run.title, written.run.version) == (
        "theirs",
        "theirs",
        run.version + 2,
    )
    assert written.run == await driver.row("run-1")


async def test_a_child_that_another_process_created_is_cancelled_with_its_parent(driver_at, path):
    ours, theirs = await driver_at(path), await driver_at(path)
    await ours.create("parent")
    await theirs.create("child", parent="parent")
    await ours.cancel("parent")
    assert [run.status.value for run in await ours.rows()] == ["cancelled", "cancelled"]


async def test_a_child_and_a_grandchild_are_counted_in_runs_that_are_known(driver):
    await driver.create("root")
    await driver.create("child", parent="root")
    await driver.touch("root", title="known again")
    await driver.touch("child", title="known again")
    await driver.create("grandchild", parent="child")
    for name, below in (("root", 2), ("child", 1)):
        run = (await driver.touch(name, priority=1)).run
        assert (run.descendants_total, run.descendants_active) == (below, below)
        assert run == await driver.row(name)
    await driver.complete("grandchild")
    assert (await driver.touch("root", priority=2)).run.descendants_active == 1


async def test_a_middle_run_that_goes_on_after_its_familys_cancel_is_not_known_with_old_counts(driver):
    await driver.create("root")
    await driver.create("middle", parent="root")
    await driver.create("leaf", parent="middle")
    await driver.claim("ann", limit=3)
    await driver.cancel("root")
    for name in ("middle", "leaf"):
        assert (await driver.touch(name, title="x")).run == await driver.row(name)


async def test_a_deleted_run_is_not_known(driver, known, refusal):
    await driver.create("run-1")
    await driver.complete("run-1")
    await driver.touch("run-1", title="x")
    await driver.delete("run-1")
    assert not known("run-1")
    assert await refusal(driver.touch("run-1", title="y")) == "NOT_FOUND"
    assert (await driver.create("run-1")).version == 1


@pytest.mark.parametrize("act", ["enforce_deadlines", "retire", "webhook", "limits"])
async def test_writes_that_are_no_plain_changes_of_runs_make_the_writer_forget(driver, known, clock, act):
    old = await driver.create("old")
    await driver.complete("old")
    await driver.create("timed", timeout_seconds=1)
    await driver.claim("ann", limit=1)
    await driver.create("run-1")
    assert known("run-1")
    if act == "enforce_deadlines":
        clock.advance_ms(120_000)
        assert await driver.enforce_deadlines(10)
    elif act == "retire":
        clock.advance_ms(1_000)
        assert (
            await driver.store.retention.retire(1, [(RetentionCandidate(old.seq, old.seq, None), None)]) == 1
        )
    elif act == "webhook":
        await driver.store.webhooks.create(hook(), lambda _count: None)
    else:
        await driver.store.concurrency.put(PROJECT, [ConcurrencyLimit(None, 1)])
    assert not known("run-1")
    assert (await driver.touch("run-1", title="x")).run == await driver.row("run-1")


async def test_a_tick_without_work_keeps_the_cache(driver, known):
    await driver.create("run-1")
    await driver.enforce_deadlines(10)
    await driver.store.forget(1_000, 10)
    assert known("run-1")


async def test_sums_and_the_index_of_runs_make_the_writer_forget_nothing(driver, known, monkeypatch):
    monkeypatch.setattr(run_index, "BLOCK", 1)
    for number in range(3):
        await driver.create(f"run-{number}")
    await driver.complete("run-0")
    assert await driver.store.rollups.add_entries(10) == 1
    assert await driver.store.run_index.advance()
    assert known("run-2")


def hook():
    return Webhook(PROJECT, PROJECT, "https://a.test", ("*",), secret_of(bytes(24)), 1, 1)


@pytest.mark.parametrize("by", ["this server", "another"])
async def test_a_webhook_of_a_project_that_had_none_gets_the_next_event(driver_at, path, by):
    driver, other = await driver_at(path), await driver_at(path)
    await driver.create("run-1")
    await driver.complete("run-1")
    adding = driver if by == "this server" else other
    await adding.store.webhooks.create(hook(), lambda _count: None)
    await driver.create("run-2")
    await driver.complete("run-2")
    sent = await driver.store.webhooks.deliveries(PROJECT, PROJECT, 10)
    assert [(one.run_id, one.event_type) for one in sent] == [("run-2", "run.completed")]


@pytest.mark.parametrize("by", ["this server", "another"])
async def test_a_limit_of_a_project_that_had_none_holds_for_the_next_claim(driver_at, path, by):
    driver, other = await driver_at(path), await driver_at(path)
    for _ in range(4):
        await driver.create()
    assert len(await driver.claim("ann", limit=1)) == 1
    adding = driver if by == "this server" else other
    await adding.store.concurrency.put(PROJECT, [ConcurrencyLimit(None, 2)])
    assert len(await driver.claim("ann", limit=4)) == 1
    await adding.store.concurrency.put(PROJECT, [])
    assert len(await driver.claim("ann", limit=4)) == 2


async def test_the_cache_is_bounded_in_entries(driver, known, monkeypatch):
    monkeypatch.setattr(limits, "run_cache_entries_max", 3)
    for number in range(5):
        await driver.create(f"run-{number}")
    await driver.touch("run-2", title="written last")
    await driver.create("run-5")
    assert [known(f"run-{number}") for number in range(6)] == [False, False, True, False, True, True]


async def test_the_cache_is_bounded_in_bytes(driver, known, monkeypatch):
    monkeypatch.setattr(limits, "run_cache_bytes_max", 40_000)
    for number in range(4):
        await driver.create(f"run-{number}", config=b'"' + b"x" * 10_000 + b'"')
    assert [known(f"run-{number}") for number in range(4)] == [False, True, True, True]
    cache = driver.store._writer.cache
    assert 30_000 < cache.bytes <= 40_000
    await driver.create("larger than all of it", config=b'"' + b"x" * 40_000 + b'"')
    assert (len(cache), cache.bytes) == (0, 0)


async def test_a_terminal_run_is_not_cached(driver, known):
    await driver.create("run-1")
    await driver.complete("run-1")
    assert not known("run-1")
    assert (len(driver.store._writer.cache), driver.store._writer.cache.bytes) == (0, 0)
