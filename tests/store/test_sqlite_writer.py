"""SQLite's writer: quick statements on the event loop, COMMIT and long work in its thread; locks and failures."""

import asyncio
import functools
import random
import sqlite3
import threading
import time
from contextlib import closing

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.tenant import tenant
from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.core.runs import transitions
from runstead.core.runs.event import NewEvent
from runstead.core.runs.transition import Transition, Want
from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import ClaimRequest
from tests.support.store_driver import PROJECT, event

THREAD = "sqlite-writer"


class Watch:
    """In place of the writer's `time`: statements take no time but what a test says."""

    def __init__(self):
        self.now = 1_000.0

    def perf_counter(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


@pytest.fixture(autouse=True)
def watch(monkeypatch):
    made = Watch()
    monkeypatch.setattr("runstead.engines.sqlite.writer.time", made)
    return made


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


@pytest.fixture
def places(driver):
    """places(command): the names of the threads in which its rule was asked."""

    async def ask(run_id, rule, want=None):
        asked = []

        def noting(loaded):
            asked.append(threading.current_thread().name)
            return rule(loaded)

        await driver.change(run_id, noting, want)
        return asked

    return ask


def rows(path, sql):
    with closing(sqlite3.connect(path)) as other:
        return other.execute(sql).fetchall()


def breaking(connection, _now):
    connection.execute("UPDATE pulse SET at = 1")
    raise ZeroDivisionError


def quiet(loaded):
    return Transition(transitions.rewrite(loaded.run, loaded.now))


# Where statements run


async def test_a_quick_command_asks_its_rule_on_the_event_loop(driver, places):
    await driver.create("run-1")
    assert await places("run-1", quiet) == [threading.main_thread().name]


@pytest.mark.parametrize(
    "changes",
    [{"output": b'"' + b"x" * limits.loop_bytes_max + b'"'}, {"logs": "x" * limits.loop_bytes_max + "x"}],
)
async def test_large_values_are_packed_in_the_thread(driver, places, changes):
    await driver.create("run-1")
    asked = await places("run-1", lambda to: Transition(transitions.rewrite(to.run, to.now, **changes)))
    assert asked == [threading.main_thread().name, THREAD]
    run = await driver.row("run-1")
    assert {name: getattr(run, name) for name in changes} == changes


async def test_large_values_are_unpacked_in_the_thread(driver_at, path, event):
    config = f'"{random.Random(1).randbytes(200_000).hex()}"'.encode()  # packed to about half of it
    first = await driver_at(path)
    await first.create("run-1", config=config)
    other = await driver_at(path)
    asked = []

    def rule(loaded):
        asked.append(threading.current_thread().name)
        assert loaded.run.config == config
        return quiet(loaded)

    await other.change("run-1", rule)
    assert asked == [THREAD]


async def test_a_large_family_is_cancelled_in_the_thread_and_a_small_one_on_the_loop(driver, places):
    for name, members in (("small", 2), ("large", limits.loop_runs_max + 1)):
        await driver.create(name)
        for number in range(members):
            await driver.create(f"{name}-{number}", parent=name)

    def cancel(to):
        return transitions.cancel(to.run, now=to.now, reason=None)

    assert await places("small", cancel) == [threading.main_thread().name]
    assert await places("large", cancel) == [threading.main_thread().name, THREAD]
    assert all(run.terminal for run in await driver.rows())


async def test_a_claim_of_many_runs_and_one_under_limits_are_decided_in_the_thread(driver):
    async def claimed(**query):
        asked = set()

        def decide(run, now):
            asked.add(threading.current_thread().name)
            return transitions.claim(run, now=now, worker="w", lease_ms=60_000, token=run.run_id)

        wanted = ClaimRequest(PROJECT, **({"kinds": ("task",)} | query))
        return len(await driver.runs.claim(wanted, decide)), asked

    for _ in range(2 * limits.loop_runs_max + 4):
        await driver.create()
    assert await claimed(limit=1) == (1, {THREAD})  # whether there are limits is not known yet
    assert await claimed(limit=1) == (1, {threading.main_thread().name})
    many = limits.loop_runs_max + 1
    assert await claimed(limit=many) == (many, {THREAD})
    await driver.store.concurrency.put(PROJECT, [ConcurrencyLimit("task:other", 1)])
    assert await claimed(limit=1) == (1, {THREAD})


async def test_a_batch_and_deletions_run_in_the_thread(driver, monkeypatch):
    places = set()
    execute = Writer._execute

    def noting(self, connection, group, until=0.0):
        before = len(group.outcomes)
        execute(self, connection, group, until)
        if len(group.outcomes) > before:
            places.add(threading.current_thread().name)

    monkeypatch.setattr(Writer, "_execute", noting)
    await driver.create_batch("batched-1", "batched-2")
    await driver.complete("batched-1")
    places.clear()
    await driver.delete("batched-1")
    await driver.create_batch("batched-3")
    await driver.store.forget(0, 100)
    await driver.enforce_deadlines(100)
    assert places == {THREAD}


async def test_after_statements_that_took_long_the_thread_does_them_for_a_while(driver, places, watch):
    await driver.create("run-1")
    slow_s = 2 * limits.loop_blocked_s_max

    def slow(loaded):
        watch.advance(slow_s)  # a slow disk
        return quiet(loaded)

    assert await places("run-1", slow) == [threading.main_thread().name]
    assert await places("run-1", quiet) == [THREAD]
    watch.advance(slow_s * limits.loop_spared_factor)
    assert await places("run-1", quiet) == [threading.main_thread().name]


async def test_the_loop_gives_the_rest_of_a_slow_group_to_the_thread(driver, watch):
    asked = []
    await asyncio.gather(*(driver.create(f"run-{number}") for number in range(3)))

    def slow(loaded):
        asked.append(threading.current_thread().name)
        watch.advance(2 * limits.loop_blocked_s_max)
        return quiet(loaded)

    before = driver.store.facts()["commits"]
    await asyncio.gather(*(driver.change(f"run-{number}", slow) for number in range(3)))
    assert asked == [threading.main_thread().name, THREAD, THREAD]
    assert driver.store.facts()["commits"] == before + 1
    assert [run.version for run in await driver.rows()] == [2, 2, 2]


async def test_a_job_for_the_thread_is_in_a_group_after_the_quick_commands(driver):
    await asyncio.gather(*(driver.create(f"run-{number}") for number in range(2)))
    asked = []

    def rule(loaded):
        asked.append(threading.current_thread().name)
        return quiet(loaded)

    def long(connection, _now):
        asked.append(threading.current_thread().name)
        return connection.execute("UPDATE pulse SET at = 1").rowcount

    before = driver.store.facts()["commits"]
    works = [driver.change("run-0", rule), driver.store._writer.do(long), driver.change("run-1", rule)]
    assert (await asyncio.gather(*works))[1] == 1
    assert asked == [threading.main_thread().name, threading.main_thread().name, THREAD]
    assert driver.store.facts()["commits"] == before + 2


class Guarded(sqlite3.Connection):
    """Finds out when one thread touches it while it commits for another, which takes its time here."""

    committing = False
    touched = False

    def execute(self, sql, *arguments):
        if self.committing:
            type(self).touched = True
        if sql != "COMMIT":
            return super().execute(sql, *arguments)
        self.committing = True
        try:
            time.sleep(0.001)
            return super().execute(sql, *arguments)
        finally:
            self.committing = False


async def test_nothing_touches_the_connection_while_it_commits(driver_at, path, monkeypatch):
    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Guarded))
    driver = await driver_at(path)

    async def live(name):
        await driver.create(name)
        for _ in range(3):
            await driver.append(name, event())
            with pytest.raises(Error):
                await driver.append(name, event(), after=77)
        await driver.create_batch(f"{name}-batched")
        await driver.complete(name, output=b'"' + b"x" * limits.loop_bytes_max + b'"')

    async def break_things():
        for _ in range(20):
            with pytest.raises(ZeroDivisionError):
                await driver.store._writer.do(breaking, quick=True)

    await asyncio.gather(break_things(), *(live(f"run-{number}") for number in range(30)))
    assert not Guarded.touched
    assert len(await driver.rows()) == 60


# Locks of other processes


async def test_the_loop_goes_on_while_another_process_holds_the_lock(driver, path):
    await driver.create("run-1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(driver.touch("run-1", title="new"))
        for _ in range(50):  # a loop that waits for the lock would come here once
            await asyncio.sleep(0.005)
        assert (await driver.row("run-1")).title is None
        assert not writing.done()
        other.execute("ROLLBACK")
    assert (await writing).run.title == "new"


# Failures, and what is known then


async def test_a_rollback_in_the_middle_of_a_group_forgets_what_the_group_wrote(driver, known):
    await asyncio.gather(*(driver.create(f"run-{number}") for number in range(4)))
    assert known("run-0")
    commands = [driver.touch(f"run-{number}", title="new") for number in range(4)]
    commands.insert(2, driver.store._writer.do(breaking, quick=True))
    outcomes = await asyncio.gather(*commands, return_exceptions=True)
    assert isinstance(outcomes.pop(2), ZeroDivisionError)
    assert [written.run.version for written in outcomes] == [2, 2, 2, 2]
    for number in range(4):
        assert (await driver.touch(f"run-{number}", priority=1)).run == await driver.row(f"run-{number}")


async def test_a_command_that_breaks_after_it_wrote_leaves_nothing_in_the_cache(driver):
    run = await driver.create("run-1")
    uncounted = (NewEvent("CUSTOM", b'{"type":"CUSTOM"}'),)
    outcomes = await asyncio.gather(
        driver.touch("run-1", title="first"),
        driver.change("run-1", lambda to: replace(quiet(to), events=uncounted)),
        driver.touch("run-1", target="second"),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], AssertionError)
    last = outcomes[2].run
    assert (last.title, last.target, last.version) == ("first", "second", run.version + 2)
    assert (await driver.append("run-1", event())).run.latest_event_id == 1


async def test_a_commit_that_fails_fails_alone_and_all_others_are_stored(driver):
    await asyncio.gather(*(driver.create(f"run-{number}") for number in range(4)))
    commands = [driver.touch(f"run-{number}", title="new") for number in range(4)]
    commands.insert(1, driver.store._writer.do(failing_commit, quick=True))
    outcomes = await asyncio.gather(*commands, return_exceptions=True)
    assert isinstance(outcomes.pop(1), sqlite3.IntegrityError)
    assert [written.run.version for written in outcomes] == [2, 2, 2, 2]
    for number in range(4):
        assert (await driver.touch(f"run-{number}", priority=1)).run == await driver.row(f"run-{number}")


def failing_commit(connection, _now):
    """SQLite checks deferred foreign keys at COMMIT."""
    connection.execute("PRAGMA defer_foreign_keys = ON")
    connection.execute("CREATE TABLE below (project_id TEXT REFERENCES projects (id))")
    connection.execute("INSERT INTO below VALUES ('nowhere')")


class Unsure(sqlite3.Connection):
    """Stores what it is to commit, and fails all the same."""

    fails = False

    def execute(self, sql, *arguments):
        done = super().execute(sql, *arguments)
        if sql == "COMMIT" and self.fails:
            type(self).fails = False
            raise sqlite3.OperationalError("disk I/O error")
        return done


async def test_a_new_run_whose_failed_commit_was_stored_after_all_is_found(driver_at, path, monkeypatch):
    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Unsure))
    driver = await driver_at(path)

    def create(name):
        new = driver.new_run(name)

        def decide(loaded):
            if loaded.run is not None:
                return Transition(loaded.run, duplicate=True)
            return transitions.create(new, now=loaded.now, parent=None, family_cancelled=False, message=None)

        return driver.runs.apply(driver.key(name), decide, Want(fresh=True))

    Unsure.fails = True
    first, second = await asyncio.gather(create("run-1"), create("run-2"))
    assert (first.transition.duplicate, second.transition.duplicate) == (True, True)
    assert [run.run_id for run in await driver.rows()] == ["run-1", "run-2"]


async def test_a_connection_that_cannot_roll_back_is_replaced_and_nothing_is_known_of_the_old_one(
    driver, known
):
    await driver.create("run-1")
    writer = driver.store._writer
    first = writer._connection

    def closing_job(connection, _now):
        connection.close()
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(Error, match="could not commit"):
        await writer.do(closing_job, quick=True)
    assert not known("run-1")
    assert (await driver.touch("run-1", title="new")).run == await driver.row("run-1")
    assert writer._connection is not first


async def test_closing_while_a_group_is_under_way_finishes_it(path, clock):
    writer = Writer(lambda: connect(path, "OFF"), clock)
    await writer.do(lambda c, _: c.execute("CREATE TABLE t (n INTEGER)").rowcount)
    writing = [
        asyncio.ensure_future(
            writer.do(lambda c, _: c.execute("INSERT INTO t VALUES (1)").rowcount, quick=True)
        )
        for _ in range(200)
    ]
    await asyncio.sleep(0)
    await writer.close()
    assert await asyncio.gather(*writing) == [1] * 200
    assert rows(path, "SELECT count(*) FROM t") == [(200,)]
    with pytest.raises(Error, match="closing"):
        await writer.do(breaking)


def nothing(_connection, _now):
    """A job that does not write."""


async def test_a_quick_command_waits_for_one_long_job_at_most(driver, watch):
    """Twelve long jobs wait, as of a caller who creates batches of 1,000 runs."""
    writer = driver.store._writer
    await driver.create("run-1")
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def long(_connection, _now):
        begun.release()
        watch.advance(0.1)
        assert go_on.acquire(timeout=60)

    jobs = [asyncio.create_task(writer.do(long)) for _ in range(12)]
    for n in range(4):
        await asyncio.to_thread(begun.acquire, timeout=60)
        command = asyncio.create_task(driver.change("run-1", quiet))
        await asyncio.sleep(0)
        go_on.release()
        await command
        assert sum(job.done() for job in jobs) <= n + 1
    go_on.release(len(jobs))
    await asyncio.gather(*jobs)


async def test_long_jobs_are_not_starved_by_quick_commands(driver):
    await driver.create("run-1")
    stop = asyncio.Event()

    async def load():
        while not stop.is_set():
            await driver.change("run-1", quiet)

    callers = [asyncio.create_task(load()) for _ in range(8)]
    async with asyncio.timeout(30):
        for _ in range(10):
            await driver.store._writer.do(nothing)
    stop.set()
    await asyncio.gather(*callers)


async def test_a_group_is_committed_when_it_has_held_the_connection_for_its_time(driver, watch):
    def long(_connection, _now):
        watch.advance(2 * limits.writer_others_s_max)

    before = driver.store.facts()["commits"]
    await asyncio.gather(*(driver.store._writer.do(long) for _ in range(4)))
    assert driver.store.facts()["commits"] - before == 4


async def test_a_project_with_many_queued_writes_delays_another_project_by_one_group(driver):
    """Round robin over tenants, if more commands wait than one group takes."""
    await driver.create("run-1")
    order = []

    def send(name):
        async def write():
            tenant.set(name)
            await driver.change("run-1", quiet)
            order.append(name)

        return asyncio.create_task(write())

    tasks = [send("noisy") for _ in range(1_000)]
    await asyncio.sleep(0)
    tasks.append(send("quiet"))
    await asyncio.gather(*tasks)
    assert order.index("quiet") <= 4 * limits.writer_group_max


async def test_a_project_cannot_fill_the_queue(driver):
    await driver.create("run-1")

    async def write(name):
        tenant.set(name)
        await driver.change("run-1", quiet)

    most = limits.writer_group_max + limits.writer_queue_per_project_max
    noisy = [asyncio.create_task(write("noisy")) for _ in range(most + 10)]
    await asyncio.sleep(0)
    quiet_one = asyncio.create_task(write("quiet"))
    results = await asyncio.gather(*noisy, return_exceptions=True)
    refused = [one for one in results if isinstance(one, Error)]
    assert {one.code for one in refused} == {"PROJECT_BUSY"}
    assert 1 <= len(refused) <= 10
    await quiet_one
