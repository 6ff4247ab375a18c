"""Batches are created atomically, count every change of a run, complete once, and are cancelled as a whole."""

from collections import Counter

import pytest

from runstead.core.batches import batch as rules
from runstead.core.idempotency import ReplayedResponse
from runstead.core.runs.run import RunStatus
from runstead.ports.store import BatchQuery, RunQuery

PROJECT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
LABEL = "99999999-9999-4999-8999-999999999999"


async def counts(driver, batch):
    """Its counters that are not 0, checked against a count of the rows."""
    found = await driver.batch(batch)
    rows = Counter(
        run.status.value
        for run in (await driver.runs.page(RunQuery((PROJECT,), limit=2_000, batch_id=batch.id))).rows
    )
    counters = {name: getattr(found, name) for name in rules.COUNTED}
    assert counters == {name: rows[name] for name in rules.COUNTED}
    return {name: count for name, count in counters.items() if count}


async def test_a_batch_is_stored_with_all_its_runs(driver, clock):
    made = await driver.create_batch("a", "b", "c", name="three", created_by="ada", on_complete=b"{}")
    batch = made.batch
    assert [one.run.run_id for one in made.runs] == ["a", "b", "c"]
    assert (batch.name, batch.created_by, batch.on_complete) == ("three", "ada", b"{}")
    assert (batch.created_at, batch.started_at, batch.completed_at) == (clock.now, None, None)
    assert (batch.status, batch.total, batch.pending) == ("running", 3, 3)
    assert await driver.batch(batch) == batch
    assert [(run.run_id, run.batch_id, run.status) for run in await driver.rows()] == [
        (name, batch.id, RunStatus.PENDING) for name in "abc"
    ]
    assert [one.run for one in made.runs] == await driver.rows()


async def test_one_run_that_is_refused_leaves_nothing_of_the_batch(driver, refusal):
    taken = await driver.create("b")
    assert await refusal(driver.create_batch("a", "b", "c")) == "RUN_ID_CONFLICT"
    assert await driver.rows() == [taken]
    assert (await driver.store.batches.page(BatchQuery(PROJECT, 10))).rows == []


async def test_a_parent_that_is_not_there_leaves_nothing_of_the_batch(driver, refusal):
    assert await refusal(driver.create_batch("a", parent="unknown")) == "NOT_FOUND"
    assert await driver.rows() == []


async def test_a_thousand_runs_are_created_at_once(driver):
    made = await driver.create_batch(*(f"run-{n}" for n in range(1_000)))
    assert (await driver.batch(made.batch)).pending == 1_000
    assert len({one.run.seq for one in made.runs}) == 1_000
    assert await driver.claim_ids(limit=2) == ["run-0", "run-1"]


async def test_the_runs_of_a_batch_may_run_below_another(driver, event):
    await driver.create("root")
    await driver.append("root", event())
    made = await driver.create_batch("a", "b", parent="root")
    root = await driver.row("root")
    assert (root.descendants_total, root.descendants_active) == (2, 2)
    await driver.append("a", event())
    await driver.append("root", event())
    found, _ = await driver.family("root")
    assert found == [("root", 1, 1), ("a", 1, 2), ("root", 2, 3)]
    await driver.cancel("root")
    assert await counts(driver, made.batch) == {"cancelled": 2}
    assert (await driver.batch(made.batch)).status == "completed"


async def test_a_key_that_was_used_gives_the_stored_answer_and_no_second_batch(driver, idempotent):
    idempotency = idempotent(render=lambda made: (202, made.batch.id.encode()))
    made = await driver.create_batch("a", idempotency=idempotency)
    with pytest.raises(ReplayedResponse) as replay:
        await driver.create_batch("b", idempotency=idempotency)
    assert replay.value.body == made.batch.id.encode()
    assert [run.run_id for run in await driver.rows()] == ["a"]


async def test_every_command_that_moves_a_run_moves_the_counters(driver, clock):
    batch = (await driver.create_batch(*"abcdef")).batch
    assert await counts(driver, batch) == {"pending": 6}
    await driver.claim(limit=3)
    assert await counts(driver, batch) == {"pending": 3, "running": 3}
    await driver.wait("a")
    assert await counts(driver, batch) == {"pending": 3, "running": 2, "waiting": 1}
    await driver.resume("a")
    await driver.release("b")
    assert await counts(driver, batch) == {"pending": 4, "running": 2}
    await driver.pause("d")
    assert await counts(driver, batch) == {"pending": 3, "running": 2, "waiting": 1}
    await driver.complete("a")
    await driver.complete("e", "failed")
    await driver.cancel("f")
    assert await counts(driver, batch) == {
        "pending": 1, "running": 1, "waiting": 1, "completed": 1, "failed": 1, "cancelled": 1,
    }  # fmt: skip
    clock.advance_ms(61_000)
    assert [one.run.run_id for one in await driver.enforce_deadlines()] == ["c"]
    assert await counts(driver, batch) == {
        "pending": 2, "waiting": 1, "completed": 1, "failed": 1, "cancelled": 1,
    }  # fmt: skip


async def test_a_repeated_end_counts_once(driver):
    batch = (await driver.create_batch("a", "b")).batch
    for status in ("completed", "completed", "failed"):
        await driver.complete("a", status)
    assert await counts(driver, batch) == {"pending": 1, "completed": 1}


async def test_a_batch_is_complete_with_the_end_of_its_last_run(driver, clock):
    batch = (await driver.create_batch("a", "b")).batch
    clock.advance_ms(5)
    await driver.claim(limit=1)
    assert (await driver.batch(batch)).started_at == clock.now
    await driver.complete("a")
    assert (await driver.batch(batch)).completed_at is None
    started = clock.now
    clock.advance_ms(5)
    await driver.complete("b", "failed")
    found = await driver.batch(batch)
    assert (found.status, found.started_at, found.completed_at) == ("completed", started, clock.now)
    clock.advance_ms(5)
    await driver.complete("b", "failed")
    assert await driver.batch(batch) == found


async def test_a_run_that_names_a_batch_joins_it(driver):
    batch = (await driver.create_batch("a")).batch
    await driver.create("b", batch_id=batch.id)
    await driver.complete("a")
    assert await counts(driver, batch) == {"pending": 1, "completed": 1}
    await driver.complete("b")
    assert (await driver.batch(batch)).status == "completed"


async def test_a_completed_batch_accepts_no_run(driver, refusal):
    done = (await driver.create_batch("a")).batch
    off = (await driver.create_batch("b")).batch
    await driver.complete("a")
    await driver.call_off(off)
    for batch in (done, off):
        assert await refusal(driver.create("late", batch_id=batch.id)) == "BATCH_CLOSED"
    assert await driver.row("late") is None


async def test_a_batch_id_that_names_none_of_the_project_is_a_label(driver):
    elsewhere = (await driver.create_batch("a", project_id=OTHER)).batch
    for name, batch_id in (("b", LABEL), ("c", elsewhere.id)):
        run = await driver.create(name, batch_id=batch_id)
        assert run.batch_id == batch_id
        await driver.complete(name)
    assert (await driver.batch(elsewhere, OTHER)).total == 1
    assert await driver.batch(elsewhere) is None
    assert await driver.store.batches.get(PROJECT, LABEL) is None


async def test_a_run_that_is_deleted_stays_counted(driver):
    batch = (await driver.create_batch("a", "b")).batch
    await driver.complete("a", "failed")
    await driver.delete("a")
    assert (await driver.batch(batch)).counts == (1, 0, 0, 0, 1, 0)
    await driver.complete("b")
    assert (await driver.batch(batch)).status == "completed"


async def test_no_run_of_a_batch_that_was_called_off_is_claimed(driver):
    batch = (await driver.create_batch("a", "b", batch_id=LABEL, cancel_reason=None)).batch
    await driver.create("free")
    elsewhere = await driver.create("d", project_id=OTHER, batch_id=LABEL)
    assert (await driver.call_off(batch)).accepted
    for query in (
        {},
        {"targets": ("task:x",), "kinds": ("task", "eval")},
        {"kinds": ("task", "eval"), "limit": 5},
    ):
        assert set(await driver.claim_ids(**query)) <= {"free"}
    assert (await driver.row("free")).status is RunStatus.RUNNING
    assert [run.uid for run in await driver.claim(project_id=OTHER)] == [elsewhere.uid]


async def test_a_batch_is_cancelled_piece_by_piece_with_all_that_runs_below(driver):
    batch = (await driver.create_batch(*"abcde")).batch
    await driver.create("below", parent="c")
    await driver.create("deeper", parent="below", batch_id=batch.id)
    await driver.create("beside")
    await driver.complete("a")
    off = (await driver.call_off(batch, "enough")).batch
    assert (off.status, off.cancel_reason) == ("cancelling", "enough")
    [first, second] = await driver.cancel_some(off, 2)
    assert [first.run.run_id, second.run.run_id] == ["b", "c"]
    assert [run.run_id for run in second.cancelled] == ["below", "deeper"]
    assert second.run.descendants_active == 0
    assert await counts(driver, batch) == {"completed": 1, "cancelled": 3, "pending": 2}
    assert [one.id for one in await driver.store.batches.unfinished(10)] == [batch.id]
    assert [one.run.run_id for one in await driver.cancel_some(off, 256)] == ["d", "e"]
    assert await driver.cancel_some(off) == []
    assert await counts(driver, batch) == {"completed": 1, "cancelled": 5}
    assert (await driver.batch(batch)).status == "cancelled"
    assert await driver.store.batches.unfinished(10) == []
    assert {(await driver.row(name)).cancel_reason for name in ("b", "below", "deeper", "e")} == {"enough"}
    assert (await driver.row("beside")).status is RunStatus.PENDING


async def test_a_run_of_the_batch_below_another_one_of_it_is_cancelled_once(driver):
    batch = (await driver.create_batch("a")).batch
    await driver.create("b", parent="a", batch_id=batch.id)
    off = (await driver.call_off(batch)).batch
    [written] = await driver.cancel_some(off)
    assert (written.run.run_id, [run.run_id for run in written.cancelled]) == ("a", ["b"])
    assert await counts(driver, batch) == {"cancelled": 2}


async def test_calling_off_is_done_once(driver, refusal):
    batch = (await driver.create_batch("a")).batch
    first = await driver.call_off(batch, "one")
    second = await driver.call_off(batch, "two")
    assert (first.accepted, second.accepted, second.batch.cancel_reason) == (True, False, "one")
    done = (await driver.create_batch("b")).batch
    await driver.complete("b")
    assert (await driver.call_off(done)).batch.status == "completed"
    missing = rules.Batch(LABEL, PROJECT, 0)
    assert await refusal(driver.call_off(missing)) == "NOT_FOUND"


async def test_batches_come_newest_first_and_page_by_page(driver):
    made = [(await driver.create_batch(f"run-{n}")).batch for n in range(5)]
    await driver.create_batch("x", project_id=OTHER)
    first = (await driver.store.batches.page(BatchQuery(PROJECT, 2))).rows
    second = (await driver.store.batches.page(BatchQuery(PROJECT, 10, first[-1].seq))).rows
    assert [one.id for one in first + second] == [one.id for one in reversed(made)]
    assert first[0] == made[-1]


async def test_follow_up_work_is_listed_until_it_is_done(driver):
    batch = (await driver.create_batch("a", on_complete=b"{}")).batch
    await driver.create_batch("b")
    off = (await driver.create_batch("c", on_complete=b"{}")).batch
    await driver.call_off(off)
    await driver.cancel_some(off)
    assert await driver.store.batches.unfinished(10) == []
    await driver.complete("a")
    await driver.complete("b")
    [due] = await driver.store.batches.unfinished(10)
    assert due.id == batch.id
    done = [
        await driver.store.batches.change(PROJECT, batch.id, lambda to, now: rules.followed_up(to, now=now))
        for _ in range(2)
    ]
    assert [one.accepted for one in done] == [True, False]
    assert await driver.store.batches.unfinished(10) == []
