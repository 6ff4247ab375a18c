"""Compensations in the store: created in the transaction that ends their run, and queued one after the other."""

import asyncio

import pytest

from runstead.commands.app import App
from runstead.commands.check import check
from runstead.commands.runs import cancel_descendants
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import RunStatus
from runstead.engines.notifiers.local import LocalNotifier

PENDING = RunStatus.PENDING


async def chain(driver, parent="run-1"):
    """[(target, status, whether it is in the queue)] of the compensations of a run, in the order of their creation."""
    rows = [run for run in await driver.rows() if run.compensates == parent]
    return [(run.target, run.status.value, run.available_at is not None) for run in sorted(rows, key=_seq)]


def _seq(run):
    return run.seq


async def undone(driver, status="completed"):
    """Claim and complete the next run. Return its target."""
    [run] = await driver.claim(kinds=("task",))
    await driver.complete(run.run_id, status)
    return run.target


async def registered(driver, run_id="run-1", count=3):
    for number in range(1, count + 1):
        await driver.compensate(run_id, f"task:undo-{number}")


async def sound(store):
    assert [violation async for violation in check(store)] == []


@pytest.mark.parametrize("end", ["fail", "cancel"])
async def test_the_end_creates_them_last_registered_first_and_each_waits_for_the_one_before(
    driver, store, end
):
    await driver.create("run-1", priority=4)
    await registered(driver)
    written = await (driver.cancel("run-1") if end == "cancel" else driver.complete("run-1", "failed"))
    assert [run.target for run in written.compensations] == ["task:undo-3", "task:undo-2", "task:undo-1"]
    run = await driver.row("run-1")
    assert (written.run.descendants_total, written.run.descendants_active) == (3, 3)
    assert (run.descendants_total, run.descendants_active, run.compensations) == (3, 3, None)
    first = written.compensations[0]
    assert (first.parent_run_id, first.config, first.input, first.priority) == ("run-1", b'{"n":1}', None, 4)
    assert await chain(driver) == [
        ("task:undo-3", "pending", True),
        ("task:undo-2", "pending", False),
        ("task:undo-1", "pending", False),
    ]
    await sound(store)
    # One that fails does not stop the others.
    targets = [await undone(driver, status) for status in ("failed", "completed", "cancelled")]
    assert targets == ["task:undo-3", "task:undo-2", "task:undo-1"]
    assert await driver.claim(kinds=("task",)) == []
    assert (await driver.row("run-1")).descendants_active == 0
    await sound(store)


async def test_a_completion_drops_them(driver, store):
    await driver.create("run-1")
    await registered(driver)
    written = await driver.complete("run-1", "completed")
    assert (written.compensations, await driver.compensations("run-1")) == ((), [])
    assert (written.run.descendants_total, (await driver.row("run-1")).compensations) == (0, None)
    assert await chain(driver) == []
    await sound(store)


async def test_a_repeat_with_the_same_key_registers_nothing(driver):
    await driver.create("run-1")
    await driver.compensate("run-1", key="a")
    again = await driver.compensate("run-1", key="a")
    assert (again.transition.duplicate, again.transition.compensation.number) == (True, 1)
    with pytest.raises(Error) as reused:
        await driver.compensate("run-1", "task:other", key="a")
    assert reused.value.code == "IDEMPOTENCY_KEY_REUSED"
    await driver.complete("run-1", "failed")
    assert (await driver.compensate("run-1", key="a")).transition.duplicate
    with pytest.raises(Error) as ended:
        await driver.compensate("run-1")
    assert ended.value.code == "RUN_NOT_ACTIVE"
    assert await driver.compensations("run-1") == [(1, "task:undo", True)]


async def test_a_run_has_a_bounded_number_and_size_of_them(driver, monkeypatch):
    monkeypatch.setattr(limits, "compensations_per_run_max", 2)
    monkeypatch.setattr(limits, "compensations_bytes_max", 10)
    await driver.create("run-1")
    await driver.compensate("run-1", config=b"12345678")
    with pytest.raises(Error) as large:
        await driver.compensate("run-1", config=b"123")
    await driver.compensate("run-1", config=None)
    with pytest.raises(Error) as many:
        await driver.compensate("run-1", config=None)
    assert large.value.code == many.value.code == "COMPENSATIONS_FULL"


async def test_commands_of_one_commit_see_the_compensations_of_each_other(driver, store):
    await driver.create("run-1")
    await asyncio.gather(
        *(driver.compensate("run-1", f"task:undo-{n}", key=f"{n}") for n in (1, 2)),
        driver.compensate("run-1", "task:undo-1", key="1"),
        driver.complete("run-1", "failed"),
    )
    assert [target for target, *_ in await chain(driver)] == ["task:undo-2", "task:undo-1"]
    await sound(store)


async def test_every_way_to_an_end_creates_them(driver, store, clock):
    """A lease that expires, a time limit, a wait that expires, the cancel of a parent and the cancel of a batch."""
    await driver.create("leased", backoff_limit=0)
    await driver.create("timed", backoff_limit=0, timeout_seconds=5)
    await driver.claim(limit=2, lease_ms=10_000)
    await driver.create("waits")
    await driver.wait("waits", "event", expires_at=clock.now + 1_000)
    await driver.create("parent")
    await driver.create("child", parent="parent")
    batch = await driver.create_batch("batched")
    names = ("leased", "timed", "waits", "child", "parent", "batched")
    for run_id in names:
        await registered(driver, run_id, 1)
    clock.advance_ms(60_000)
    await driver.enforce_deadlines(100)
    await driver.cancel("parent")
    await driver.cancel_some((await driver.call_off(batch.batch)).batch)
    for run_id in names:
        assert await chain(driver, run_id) == [("task:undo-1", "pending", True)], run_id
    await sound(store)


async def test_no_cancel_above_reaches_them_and_their_descendants(driver, store):
    await driver.create("root")
    await driver.create("run-1", parent="root")
    await registered(driver, count=2)
    await driver.complete("run-1", "failed")
    [undo] = [run for run in await driver.rows() if run.target == "task:undo-2"]
    await driver.create("helper", parent=undo.run_id)
    written = await driver.cancel("root")
    assert (written.cancelled, written.run.descendants_active) == ((), 3)
    await driver.create("helper-2", parent=undo.run_id)
    assert {run.run_id for run in await driver.rows() if run.status is PENDING} >= {"helper", "helper-2"}
    with pytest.raises(Error) as refused:
        await driver.create("late", parent="run-1")
    assert refused.value.code == "PARENT_CANCELLED"
    assert len(await driver.claim(kinds=("task",), limit=10)) == 3
    await sound(store)
    # A compensation can be cancelled itself, with its descendants, and the next one starts.
    await driver.cancel(undo.run_id)
    assert await chain(driver) == [("task:undo-2", "cancelled", False), ("task:undo-1", "pending", True)]
    assert (await driver.row("helper")).status is RunStatus.CANCELLED
    await sound(store)


async def test_one_that_ends_before_its_turn_is_skipped(driver):
    await driver.create("run-1")
    await registered(driver)
    await driver.cancel("run-1")
    middle = next(run for run in await driver.rows() if run.target == "task:undo-2")
    await driver.cancel(middle.run_id)
    assert [held for *_, held in await chain(driver)] == [True, False, False]
    assert [await undone(driver), await undone(driver)] == ["task:undo-3", "task:undo-1"]


async def test_one_that_waits_for_its_turn_can_neither_be_paused_nor_wait_for_something_else(driver):
    """A resume would queue it before its turn, or let it count for a limit without ever running."""
    await driver.create("run-1")
    await registered(driver, count=2)
    await driver.cancel("run-1")
    first, last = sorted(
        (run for run in await driver.rows() if run.compensates), key=lambda run: run.target, reverse=True
    )
    for call in (driver.pause(last.run_id), driver.wait(last.run_id, "event")):
        with pytest.raises(Error) as refused:
            await call
        assert refused.value.code == "RUN_ALREADY_WAITING"
    await driver.pause(first.run_id)
    assert await driver.claim(kinds=("task",)) == []
    await driver.resume(first.run_id, "unpause", call=None)
    assert [await undone(driver), await undone(driver)] == ["task:undo-2", "task:undo-1"]


async def test_the_deadline_of_one_queues_the_next(driver, clock):
    await driver.create("run-1", backoff_limit=0)
    await registered(driver, count=2)
    await driver.cancel("run-1")
    for _ in range(4):  # the default number of attempts
        await driver.claim(kinds=("task",), lease_ms=1_000)
        clock.advance_ms(400_000)
        await driver.enforce_deadlines(10)
        clock.advance_ms(400_000)
    assert await chain(driver) == [("task:undo-2", "failed", False), ("task:undo-1", "pending", True)]


async def test_the_cancel_of_a_large_family_spares_them(driver, store, monkeypatch):
    monkeypatch.setattr(limits, "family_cancel_rows_max", 2)
    await driver.create("root")
    for number in range(5):
        await driver.create(f"child-{number}", parent="root")
        await driver.compensate(f"child-{number}", f"task:undo-{number}")
    await driver.complete("child-0", "failed")
    await driver.compensate("root", "task:undo-root")
    await driver.cancel("root")
    assert (
        len(await driver.claim(kinds=("task",), limit=10)) >= 2
    )  # of child-0 and of root, before the others are swept
    app = App(store, LocalNotifier())
    await cancel_descendants(app, (await driver.row("root")).seq, 100)
    rows = await driver.rows()
    assert len([run for run in rows if run.compensates is not None and not run.terminal]) == 6
    assert not [run for run in rows if run.compensates is None and not run.terminal]
    assert await store.runs.cancelling(10) == []
    await sound(store)


async def test_deleting_a_run_deletes_its_compensations(driver, store):
    await driver.create("run-1")
    await registered(driver)
    await driver.complete("run-1", "completed")
    await driver.create("run-2")
    await driver.compensate("run-2")
    await driver.complete("run-2", "failed")
    await undone(driver)
    [child] = [run for run in await driver.rows() if run.compensates == "run-2"]
    for run_id in (child.run_id, "run-2"):
        await driver.delete(run_id)
    await sound(store)
