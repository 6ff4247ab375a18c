"""Alert rules on each engine: every kind fires and resolves, and a message is stored with its transition or not at all."""

import asyncio
import sqlite3
import uuid
from contextlib import closing

import pytest

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.alerts.alert import KINDS, Alert, changed, muted
from runstead.core.alerts.message import TEST, deliveries
from runstead.core.errors import Error
from runstead.core.identity.project import Member, Project
from runstead.core.queue.fair_share import FairShare
from runstead.core.queue.worker import Worker
from runstead.core.schedules.schedule import Schedule, begun
from runstead.core.usage.rollup import QUARTER, coded
from runstead.core.webhooks.webhook import Attempt, Webhook, new_delivery, record_attempt, secret_of
from runstead.engines.notifiers.local import LocalNotifier
from runstead.engines.sqlite.sql import DIALECT
from runstead.loops.alerts import evaluate
from runstead.loops.liveness import watch
from runstead.loops.scheduler import schedule
from tests.support.store_driver import PROJECT

ELSEWHERE = "99999999-9999-4999-8999-999999999999"


def anything(_count):
    """Accept any number."""


class Watched:
    """A store with a webhook, rules, and the loops that alerts depend on."""

    def __init__(self, driver):
        self.driver, self.store, self.clock = driver, driver.store, driver.clock
        self.app = App(self.store, LocalNotifier())

    async def hook(self, **fields):
        given = {"id": str(uuid.uuid4()), "project_id": PROJECT, "url": "https://a.test/in"}
        given |= {"events": ("alert.fired", "alert.resolved"), "secret": secret_of(bytes(24))}
        made = Webhook(**(given | {"created_at": 5, "updated_at": 5} | fields))
        return await self.store.webhooks.create(made, anything)

    async def rule(self, kind, **fields):
        now = self.clock.now
        given = {"id": str(uuid.uuid4()), "project_id": PROJECT, "name": kind, "created_at": now}
        given |= {"updated_at": now, "threshold": KINDS[kind].threshold, "evaluate_at": now}
        return await self.store.alerts.create(Alert(kind=kind, **(given | fields)), anything)

    async def tick(self, seconds=limits.alert_interval_s):
        """Move the clock, and run each loop once."""
        self.clock.advance(seconds)
        await schedule(self.app)
        await watch(self.app)
        await self.app.store.rollups.add_entries(1_000)
        await evaluate(self.app)

    async def state(self, alert):
        found = await self.store.alerts.get(alert.project_id, alert.id)
        return ("firing" if found.firing_since is not None else "ok", found.value)

    async def sent(self, hook):
        """The events that were written for a webhook, oldest first."""
        found = await self.store.webhooks.deliveries(hook.project_id, hook.id, 100)
        return [one.event_type for one in found][::-1]

    async def history(self, alert):
        """[(value, resolved?)], oldest first."""
        found = await self.store.alerts.history(alert.project_id, alert.id, 100)
        return [(one.value, one.resolved_at is not None) for one in found][::-1]


@pytest.fixture
async def watched(driver):
    return Watched(driver)


FIRED, BOTH = ["alert.fired"], ["alert.fired", "alert.resolved"]


async def test_a_failure_rate_fires_for_its_target_and_resolves_when_the_window_has_passed(watched):
    hook = await watched.hook()
    mine = await watched.rule(
        "failure_rate", target="task:report", threshold=0.5, min_runs=4, window_seconds=900
    )
    whole = await watched.rule("failure_rate", threshold=0.2, min_runs=4, window_seconds=900)
    other = await watched.rule("failure_rate", target="task:count", threshold=0.1, min_runs=1)
    for n, (target, status) in enumerate(
        [("task:report", "failed")] * 2 + [("task:report", "completed")] * 2 + [("task:count", "completed")]
    ):
        await watched.driver.create(f"run-{n}", target=target)
        await watched.driver.complete(f"run-{n}", status)
    await watched.tick()
    assert await watched.state(mine) == ("firing", 0.5)
    assert await watched.state(whole) == ("firing", 0.4)
    assert await watched.state(other) == ("ok", 0)
    await watched.tick()
    assert await watched.sent(hook) == FIRED * 2
    await watched.tick(1_800)
    assert await watched.state(mine) == await watched.state(whole) == ("ok", None)
    assert await watched.sent(hook) == FIRED * 2 + ["alert.resolved"] * 2
    assert await watched.history(mine) == [(0.5, True)]


async def test_the_age_of_the_oldest_pending_run_fires_for_its_target_and_resolves_with_its_claim(watched):
    hook = await watched.hook()
    mine = await watched.rule("pending_age", target="task:report", threshold=60.0)
    whole = await watched.rule("pending_age", threshold=60.0)
    other = await watched.rule("pending_age", target="task:none", threshold=60.0)
    await watched.driver.create("low", target="task:report", priority=-5)
    watched.clock.advance(30)
    await watched.driver.create("high", target="task:report", priority=5)
    await watched.tick(20)
    assert await watched.state(mine) == await watched.state(whole) == ("ok", 50)
    await watched.tick()
    assert await watched.state(mine) == await watched.state(whole) == ("firing", 65)
    assert await watched.state(other) == ("ok", None)
    for run_id in ("high", "low"):
        assert await watched.driver.claim_ids() == [run_id]
    await watched.tick()
    assert await watched.state(mine) == await watched.state(whole) == ("ok", None)
    assert sorted(await watched.sent(hook)) == sorted(BOTH * 2)


async def test_a_missed_time_of_a_schedule_fires_and_resolves_after_the_window(watched):
    hook = await watched.hook()
    now = watched.clock.now
    made = [
        Schedule(str(uuid.uuid4()), PROJECT, name, "task", "count", "0 13 * * *", now, now)
        for name in ("watched", "other")
    ]
    for one in made:
        await watched.store.schedules.create(PROJECT, lambda _count, now, one=one: begun(one, now))
    mine = await watched.rule("schedule_missed", schedule_id=made[0].id, window_seconds=900)
    all_of_them = await watched.rule("schedule_missed", threshold=2.0, window_seconds=900)
    for _ in range(2):
        await watched.tick()
    assert await watched.state(mine) == ("ok", 0)
    await watched.tick(7_200)  # no server ran
    assert await watched.state(mine) == ("firing", 1)
    assert await watched.state(all_of_them) == ("firing", 2)
    for _ in range(3):
        await watched.tick(301)
    assert await watched.state(mine) == await watched.state(all_of_them) == ("ok", 0)
    assert sorted(await watched.sent(hook)) == sorted(BOTH * 2)


async def test_a_silent_worker_fires_and_resolves_when_it_is_back_or_the_window_has_passed(watched):
    hook = await watched.hook()
    mine = await watched.rule("worker_silent", window_seconds=900)
    await watched.store.identity.create_project(
        Project(PROJECT, "inventory", "Inventory", 1), Member(PROJECT, "ada", "admin", 1), None
    )
    await watched.store.workers.register(Worker("w-1", PROJECT, "python", "k-1", 1, 1), b"\x00token")
    await watched.tick()
    assert await watched.state(mine) == ("ok", 0)
    await watched.tick(limits.worker_silence_s)
    assert await watched.state(mine) == ("firing", 1)
    await watched.store.workers.heartbeat("w-1")
    await watched.tick()
    assert await watched.state(mine) == ("ok", 0)
    await watched.tick(limits.worker_silence_s)
    await watched.tick(901)
    assert await watched.state(mine) == ("ok", 0)
    assert await watched.sent(hook) == BOTH * 2


async def give_up(watched, hook):
    """A delivery that fails until it is given up."""
    delivery = new_delivery(f"msg_{uuid.uuid4()}", hook, "run.failed", None, b"{}", watched.clock.now)
    await watched.store.webhooks.add(PROJECT, hook.id, lambda _hook, _now: delivery)
    watched.clock.advance_ms(limits.delivery_ms_max)
    for _, taken in await watched.store.webhooks.take(FairShare(10), 10, 60_000):
        attempt = Attempt(taken.attempts, "it answered 500", 500)

        def decide(known, current, now, attempt=attempt):
            return record_attempt(known, current, attempt, now, 0.5)

        await watched.store.webhooks.settle(PROJECT, hook.id, taken.id, decide)


async def test_a_delivery_that_is_given_up_fires_and_resolves_after_the_window(watched):
    broken, hook = await watched.hook(events=("run.failed",)), await watched.hook()
    mine = await watched.rule("delivery_failed", window_seconds=900)
    await watched.tick()
    await give_up(watched, broken)
    await watched.tick()
    assert await watched.state(mine) == ("firing", 1)
    await watched.tick(900)
    assert await watched.state(mine) == ("ok", 0)
    assert await watched.sent(hook) == BOTH


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
async def test_a_measurement_reads_as_much_in_a_project_of_thousands_of_targets(watched, tmp_path):
    def steps(name, /, **arguments):
        """How many instructions of SQLite's machine a statement takes."""
        statement, count = DIALECT.named[name], 0

        def step():
            nonlocal count
            count += 1

        with closing(sqlite3.connect(tmp_path / "0.db")) as connection:
            connection.set_progress_handler(step, 1)
            values = [arguments[one] for one in statement.parameters]
            assert connection.execute(statement.text, values).fetchall()
        return count

    def measured():
        pending = {"project_id": PROJECT, "now": watched.clock.now}
        sums = {"project_id": PROJECT, "width": QUARTER, "since": 0}
        return [
            steps("oldest_pending", **pending),
            steps("oldest_pending_of_target", **pending, target="task:0"),
            steps("ended_runs", **sums, way="all", name=""),
            steps("ended_runs", **sums, way="target", name=coded("task:0")),
            steps("missed_firings", project_id=PROJECT),
            steps("silent_workers", project_id=PROJECT, since=0, most=1_000),
            steps("failed_deliveries", project_id=PROJECT),
        ]

    def copied(table, **changed):
        """Copy each row of a table 3,000 times with these columns changed: expressions of `n`."""
        with closing(sqlite3.connect(tmp_path / "0.db")) as connection, connection:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(changed.get(one, one) for one in columns)
            connection.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) WITH RECURSIVE numbers (n) AS"
                " (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 3000)"
                f" SELECT {values} FROM {table}, numbers"
            )

    await watched.driver.create("done", target="task:0")
    await watched.driver.complete("done", "failed")
    await watched.driver.create("pending", target="task:0")
    await watched.store.rollups.add_entries(10)
    few = measured()
    unique = {"seq": "seq + n * 10", "uid": "uid || n", "run_id": "run_id || n"}
    copied("runs", **unique, target="'task:' || n")
    copied("activity_rollups", way="'target'", name="':task:' || name || way || n")
    many = measured()
    assert [after <= 2 * before for before, after in zip(few, many, strict=True)] == [True] * 7, (few, many)


async def failing_rule(watched, **fields):
    """A rule that fires at the next tick."""
    await watched.driver.create()
    return await watched.rule("pending_age", threshold=1.0, **fields)


async def test_a_crash_between_evaluation_and_delivery_loses_no_message_and_doubles_none(
    watched, monkeypatch
):
    hook = await watched.hook()
    mine = await failing_rule(watched)

    def crash(*_args, **_kwargs):
        raise RuntimeError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr("runstead.engines.sql.alerts.deliveries", crash)
        with pytest.raises(RuntimeError):
            await watched.tick()
    assert await watched.state(mine) == ("ok", None)
    assert await watched.history(mine) == []
    await watched.tick()
    await watched.tick()
    assert (await watched.state(mine))[0] == "firing"
    assert await watched.sent(hook) == FIRED
    assert len(await watched.history(mine)) == 1


async def test_two_leaders_that_evaluate_the_same_reading_send_one_message(watched):
    hook = await watched.hook()
    await failing_rule(watched)
    watched.clock.advance(15)
    read = [(one, await watched.store.alerts.measure(one)) for one in await watched.store.alerts.due(10)]
    sent = await asyncio.gather(*(watched.store.alerts.evaluate(read) for _ in range(2)))
    assert sorted(sent) == [0, 1]
    assert await watched.sent(hook) == FIRED


async def test_a_muted_rule_records_its_history_and_sends_nothing_until_the_mute_ends(watched):
    hook = await watched.hook()
    mine = await failing_rule(watched, repeat_seconds=60)
    until = watched.clock.now + 120_000
    await watched.store.alerts.change(PROJECT, mine.id, lambda old, now: muted(old, until, now))
    for _ in range(7):
        await watched.tick()
    assert await watched.sent(hook) == []
    (entry,) = await watched.store.alerts.history(PROJECT, mine.id, 10)
    assert (entry.muted, entry.resolved_at) == (True, None)
    await watched.tick(60)
    assert await watched.sent(hook) == FIRED  # the repetition, after the end of the mute
    await watched.driver.claim()
    await watched.tick()
    assert await watched.sent(hook) == BOTH


async def test_a_rule_that_cannot_be_measured_stops_no_other(watched, monkeypatch):
    hook = await watched.hook()
    broken, mine = await failing_rule(watched), await watched.rule("pending_age", threshold=1.0)
    measure = watched.store.alerts.measure

    async def slow(alert):
        if alert.id == broken.id:
            raise Error("QUERY_TOO_SLOW", "slow")
        return await measure(alert)

    monkeypatch.setattr(watched.store.alerts, "measure", slow)
    await watched.tick()
    assert [(await watched.state(one))[0] for one in (broken, mine)] == ["ok", "firing"]
    monkeypatch.undo()
    await watched.tick()
    assert (await watched.state(broken))[0] == "firing"
    assert await watched.sent(hook) == FIRED * 2


async def test_a_rule_and_its_messages_stay_in_their_project(watched):
    hook, foreign_hook = await watched.hook(), await watched.hook(project_id=ELSEWHERE)
    mine = await failing_rule(watched)
    foreign = await watched.rule("pending_age", threshold=1.0, project_id=ELSEWHERE)
    await watched.tick()
    alerts = watched.store.alerts
    assert await watched.state(foreign) == ("ok", None)
    assert (await watched.sent(hook), await watched.sent(foreign_hook)) == (FIRED, [])
    assert await alerts.get(ELSEWHERE, mine.id) is None
    assert [one.id for one in await alerts.page(ELSEWHERE, 10)] == [foreign.id]
    assert await alerts.history(ELSEWHERE, mine.id, 10) == []
    assert not await alerts.delete(ELSEWHERE, mine.id)
    with pytest.raises(Error, match="Alert"):
        await alerts.change(ELSEWHERE, mine.id, lambda old, _now: old)


async def test_a_rule_is_read_as_it_was_written_changed_tested_and_deleted_with_its_history(watched):
    hook = await watched.hook()
    mine = await failing_rule(watched, target=None, webhook_id=hook.id, created_by="ada", min_runs=3)
    assert await watched.store.alerts.get(PROJECT, mine.id) == mine
    await watched.tick()

    def send(alert, webhooks, now):
        return deliveries(alert, TEST, webhooks, now, key="k")

    assert len(await watched.store.alerts.notify(PROJECT, mine.id, send)) == 1
    assert await watched.sent(hook) == ["alert.fired", TEST]
    await watched.store.alerts.change(
        PROJECT, mine.id, lambda old, now: changed(old, {}, enabled=False, now=now)
    )
    assert [ended for _, ended in await watched.history(mine)] == [True]
    assert await watched.store.alerts.due(10) == []
    assert await watched.store.alerts.delete(PROJECT, mine.id)
    assert await watched.history(mine) == []
    assert not await watched.store.alerts.delete(PROJECT, mine.id)


async def test_the_history_keeps_the_newest_entries(watched, monkeypatch):
    monkeypatch.setattr(limits, "alert_firings_kept_max", 3)
    mine = await watched.rule("pending_age", threshold=1.0)
    for n in range(5):
        await watched.driver.create(f"run-{n}")
        await watched.tick()
        await watched.driver.claim()
        await watched.tick()
    found = await watched.store.alerts.history(PROJECT, mine.id, 10)
    assert len(found) == 3
    assert [one.seq for one in found] == sorted((one.seq for one in found), reverse=True)
    older = await watched.store.alerts.history(PROJECT, mine.id, 10, found[0].seq)
    assert older == found[1:]
