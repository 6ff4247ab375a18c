"""Signals in the store: kept in order, taken at most once, also by commands of one commit."""

import asyncio

import pytest

from runstead.commands import retention
from runstead.commands.check import check
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from runstead.core.runs.signal import AwaitedEvent

from .test_retention import DAY, App

PAID, SENT = AwaitedEvent("paid", "call-1"), AwaitedEvent("sent", "call-2")


async def test_a_signal_is_kept_until_the_run_waits_for_it_and_then_taken_once(driver, store):
    await driver.create("run-1")
    await driver.signal("run-1", "paid", b"1")
    await driver.signal("run-1", "sent", b"2")
    await driver.signal("run-1", "paid", b"3")
    for number in (1, 3):
        written = await driver.wait("run-1", "event", events=(PAID,))
        assert written.run.status is RunStatus.PENDING
        assert written.transition.signal.number == number
    assert (await driver.wait("run-1", "event", events=(PAID,))).run.status is RunStatus.WAITING
    assert await driver.signals("run-1") == [
        (1, "paid", b"1", 1),
        (2, "sent", b"2", None),
        (3, "paid", b"3", 2),
    ]
    assert await driver.signals("run-1", taken=False) == [(2, "sent", b"2", None)]
    assert [each[0] for each in await driver.signals("run-1", taken=True)] == [1, 3]
    assert [violation async for violation in check(store)] == []


async def test_a_signal_that_a_waiting_run_awaits_resumes_it_at_once(driver):
    await driver.create("run-1")
    await driver.wait("run-1", "event", events=(SENT, PAID))
    assert (await driver.signal("run-1", "other")).run.status is RunStatus.WAITING
    written = await driver.signal("run-1", "paid", b'{"sum":5}')
    assert written.run.status is RunStatus.RUNNING
    assert (written.transition.signal.event_id, written.transition.receipt.key) == (1, "event:call-1")
    assert written.run.waiting_events is None


async def test_commands_of_one_commit_see_the_signals_of_each_other(driver):
    await driver.create("run-1")
    await driver.signal("run-1", "paid", b"0")
    written = await asyncio.gather(
        driver.signal("run-1", "paid", b"1", key="a"),
        driver.wait("run-1", "event", events=(PAID,)),
        driver.wait("run-1", "event", events=(PAID,)),
        driver.signal("run-1", "paid", b"1", key="a"),
        driver.wait("run-1", "event", events=(PAID,)),
        driver.signal("run-1", "sent"),
        driver.signal("run-1", "paid", b"2"),
    )
    taken = [one.transition.signal and one.transition.signal.payload for one in written]
    assert taken == [b"1", b"0", b"1", b"1", None, b"1", b"2"]
    assert written[3].transition.duplicate
    assert await driver.signals("run-1") == [
        (1, "paid", b"0", 1),
        (2, "paid", b"1", 2),
        (3, "sent", b"1", None),
        (4, "paid", b"2", 3),
    ]


async def test_signals_of_one_commit_cannot_exceed_the_bound_together(driver, monkeypatch):
    monkeypatch.setattr(limits, "signals_untaken_max", 3)
    await driver.create("run-1")
    await driver.signal("run-1")
    outcomes = await asyncio.gather(*(driver.signal("run-1") for _ in range(4)), return_exceptions=True)
    assert [one.code for one in outcomes if isinstance(one, Error)] == ["SIGNALS_FULL"] * 2
    await driver.wait("run-1", "event", events=(PAID,))
    await driver.signal("run-1")
    with pytest.raises(Error, match="3 signals that it has not taken yet, and 3 is the maximum"):
        await driver.signal("run-1")


async def test_a_page_of_signals_ends_by_rows_or_bytes(driver):
    await driver.create("run-1")
    for size in (10, 20, 30):
        await driver.signal("run-1", payload=b'"' + b"x" * (size - 2) + b'"')
    seq = (await driver.row("run-1")).seq

    async def numbers(after, limit, bytes_max):
        page = await driver.runs.signals(seq, after, limit, bytes_max)
        return [one.number for one in page.rows], page.more

    assert await numbers(0, 10, 1 << 20) == ([1, 2, 3], False)
    assert await numbers(0, 2, 1 << 20) == ([1, 2], True)
    assert await numbers(0, 10, 30) == ([1, 2], True)
    assert await numbers(1, 10, 1) == ([2], True)
    assert await numbers(2, 10, 1) == ([3], False)


async def test_signals_leave_with_their_run(driver, clock, store):
    for run_id in ("run-1", "run-2", "run-3"):
        await driver.create(run_id)
        await driver.signal(run_id)
    await driver.complete("run-1")
    await driver.delete("run-1")
    await driver.complete("run-2")
    clock.advance_ms(31 * DAY)
    await retention.retire(App(store), 30 * DAY, 0)
    assert [run.run_id for run in await driver.rows()] == ["run-3"]
    assert len(await driver.signals("run-3")) == 1
    assert [violation async for violation in check(store)] == []
