"""Loops run on the leader, with pauses, and never starve another loop."""

import asyncio
import time

import pytest

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.leadership import LeaderState
from runstead.loops.loop import Loop, every
from runstead.ports import metrics


def value(metric, loop):
    return metrics.registry.get_sample_value(f"runstead_loop_{metric}", {"loop": loop})


class Work:
    """A tick that takes `seconds` and processes `rows`."""

    def __init__(self, rows=0, seconds=0.0):
        self.rows, self.seconds, self.ticks = rows, seconds, 0

    async def __call__(self):
        self.ticks += 1
        await asyncio.sleep(self.seconds)
        return self.rows


@pytest.fixture
async def run(app):
    """run(name, run_tick, …): run the loop until the test ends. The replica uses the real clock."""
    app.leader_state = LeaderState()
    app.leader_state.hold(1, app.leader_state.clock() + 3_600)
    running = []

    def start(name, run_tick, seconds=0.001, **options):
        running.append(asyncio.ensure_future(every(app, Loop(name, seconds, run_tick, **options))))

    yield start
    app.stop()
    await asyncio.gather(*running)


async def test_a_led_loop_runs_on_the_leader_only(app, run, until):
    app.leader_state.follow(1)
    led, everywhere = Work(), Work()
    run("led", led)
    run("everywhere", everywhere, led=False)
    await until(lambda: everywhere.ticks >= 5)
    assert led.ticks == 0
    app.leader_state.hold(2, app.leader_state.clock() + 3_600)
    await until(lambda: led.ticks >= 5)
    app.leader_state.follow(3)
    before = led.ticks
    seen = everywhere.ticks
    await until(lambda: everywhere.ticks >= seen + 5)
    assert led.ticks == before


async def test_a_rare_loop_starts_soon_after_its_replica_was_elected(app, run, until, monkeypatch):
    monkeypatch.setattr(limits, "loop_wait_s_max", 0.001)
    app.leader_state.follow(1)
    daily = Work()
    run("daily", daily, seconds=86_400)
    await asyncio.sleep(0.005)  # so that the loop waits
    app.leader_state.hold(2, app.leader_state.clock() + 3_600)
    await until(lambda: daily.ticks)


async def test_a_backlog_is_processed_without_waiting_for_the_next_tick(run, until):
    backlog = Work(rows=10)
    run("backlog", backlog, seconds=3_600, rows_max=10)
    await until(lambda: backlog.ticks >= 20)


async def test_after_a_tick_that_was_not_full_the_loop_pauses(run, until):
    some, other = Work(rows=9), Work(rows=10)
    run("some", some, seconds=3_600, rows_max=10)
    run("other", other, seconds=3_600, rows_max=10)
    await until(lambda: other.ticks >= 20)
    assert some.ticks == 1


async def test_a_backlog_takes_at_most_half_of_the_time(run, until):
    backlog = Work(rows=10, seconds=0.01)
    began = time.monotonic()
    run("backlog", backlog, seconds=3_600, rows_max=10)
    await until(lambda: backlog.ticks > 10)
    assert time.monotonic() - began >= 10 * 2 * 0.01  # ten ticks, each followed by a pause of the same length


async def test_the_backlog_of_a_loop_starves_no_other_loop(run, until):
    backlog, quick = Work(rows=10, seconds=0.002), Work(seconds=0.001)
    run("backlog", backlog, seconds=3_600, rows_max=10)
    run("quick", quick, seconds=0.002)
    await until(lambda: backlog.ticks >= 50)
    assert quick.ticks >= 10


async def test_a_failed_tick_is_counted_and_retried(run, until):
    troubles = [Error("STORE_UNAVAILABLE", "The disk is full"), ZeroDivisionError()]

    async def run_tick():
        if troubles:
            raise troubles.pop(0)
        return 3

    began = time.time()
    run("troubled", run_tick)
    await until(lambda: (value("ticks_total", "troubled") or 0) >= 2)
    assert value("failures_total", "troubled") == 2
    assert value("rows_total", "troubled") == 3 * value("ticks_total", "troubled")
    assert began <= value("last_success_timestamp_seconds", "troubled") <= time.time()


async def test_a_loop_that_never_completed_a_tick_has_metrics(run, until):
    stuck = asyncio.Event()
    run("stuck", stuck.wait)
    await until(lambda: value("ticks_total", "stuck") is not None)
    assert value("last_success_timestamp_seconds", "stuck") == 0
    stuck.set()


async def test_a_change_notification_wakes_a_loop_and_it_still_takes_at_most_half_of_the_time(
    app, run, until
):
    woken, other = Work(seconds=0.005), Work()
    run("woken", woken, seconds=3_600, key="news")
    run("other", other, seconds=3_600)
    await until(lambda: woken.ticks == other.ticks == 1)
    began = time.monotonic()
    while woken.ticks < 6:
        app.notifier.publish(["news"])
        await asyncio.sleep(0.001)
    assert time.monotonic() - began >= 4 * 2 * 0.005
    assert other.ticks == 1


async def test_the_state_of_all_loops_is_returned(run, until):
    async def trouble():
        raise Error("STORE_BUSY", "Too many writes are waiting")

    work = Work()
    run("succeeding", work)
    run("failing", trouble)
    await until(lambda: work.ticks > 1 and value("failures_total", "failing"))
    states = {one.name: one for one in metrics.loops()}
    succeeding, failing = states["succeeding"], states["failing"]
    assert 0 <= time.time() * 1000 - succeeding.succeeded_at < 60_000
    assert (succeeding.ticks > 0, succeeding.failures) == (True, 0)
    assert (failing.succeeded_at, failing.ticks, failing.failures > 0) == (None, 0, True)
    assert [one.name for one in metrics.loops()] == sorted(states)
