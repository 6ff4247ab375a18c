"""Batches: created whole or not at all, counted with every move of a run, completed once, called off to the end."""

from collections import Counter

import pytest

from runstead.core.batches import batch as rules
from runstead.core.idempotency import Replay
from runstead.core.runs.run import RunStatus
from runstead.ports.store import BatchQuery, RunQuery

PROJECT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
LABEL = "99999999-9999-4999-8999-999999999999"


async def counts(desk, batch):
    """Its counters that are not 0, having seen that they are what a count of the rows gives."""
    found = await desk.batch(batch)
    rows = Counter(
        run.status.value for run in await desk.runs.page(RunQuery((PROJECT,), limit=2_000, batch_id=batch.id))
    )
    told = {name: getattr(found, name) for name in rules.COUNTED}
    assert told == {name: rows[name] for name in rules.COUNTED}
    return {name: count for name, count in told.items() if count}


async def test_a_batch_is_stored_with_all_its_runs(desk, clock):
    made = await desk.create_batch("a", "b", "c", name="three", created_by="ada", on_complete=b"{}")
    batch = made.batch
    assert [one.run.run_id for one in made.runs] == ["a", "b", "c"]
    assert (batch.name, batch.created_by, batch.on_complete) == ("three", "ada", b"{}")
    assert (batch.created_at, batch.started_at, batch.completed_at) == (clock.now, None, None)
    assert (batch.status, batch.total, batch.pending) == ("running", 3, 3)
    assert await desk.batch(batch) == batch
    assert [(run.run_id, run.batch_id, run.status) for run in await desk.rows()] == [
        (name, batch.id, RunStatus.PENDING) for name in "abc"
    ]
    assert [one.run for one in made.runs] == await desk.rows()


async def test_one_run_that_is_refused_leaves_nothing_of_the_batch(desk, refusal):
    taken = await desk.create("b")
    assert await refusal(desk.create_batch("a", "b", "c")) == "RUN_ID_CONFLICT"
    assert await desk.rows() == [taken]
    assert await desk.store.batches.page(BatchQuery(PROJECT, 10)) == []


async def test_a_parent_that_is_not_there_leaves_nothing_of_the_batch(desk, refusal):
    assert await refusal(desk.create_batch("a", parent="nobody")) == "NOT_FOUND"
    assert await desk.rows() == []


async def test_a_thousand_runs_are_created_at_once(desk):
    made = await desk.create_batch(*(f"run-{n}" for n in range(1_000)))
    assert (await desk.batch(made.batch)).pending == 1_000
    assert len({one.run.seq for one in made.runs}) == 1_000
    assert await desk.claim_ids(limit=2) == ["run-0", "run-1"]


async def test_the_runs_of_a_batch_may_run_below_another(desk, event):
    await desk.create("root")
    await desk.append("root", event())
    made = await desk.create_batch("a", "b", parent="root")
    root = await desk.row("root")
    assert (root.descendants_total, root.descendants_active) == (2, 2)
    await desk.append("a", event())
    await desk.append("root", event())
    found, _ = await desk.family("root")
    assert found == [("root", 1, 1), ("a", 1, 2), ("root", 2, 3)]
    await desk.cancel("root")
    assert await counts(desk, made.batch) == {"cancelled": 2}
    assert (await desk.batch(made.batch)).status == "completed"


async def test_a_key_that_was_used_gives_the_stored_answer_and_no_second_batch(desk, sealed):
    seal = sealed(render=lambda made: (202, made.batch.id.encode()))
    made = await desk.create_batch("a", seal=seal)
    with pytest.raises(Replay) as replay:
        await desk.create_batch("b", seal=seal)
    assert replay.value.body == made.batch.id.encode()
    assert [run.run_id for run in await desk.rows()] == ["a"]


async def test_every_command_that_moves_a_run_moves_the_counters(desk, clock):
    batch = (await desk.create_batch(*"abcdef")).batch
    assert await counts(desk, batch) == {"pending": 6}
    await desk.claim(limit=3)
    assert await counts(desk, batch) == {"pending": 3, "running": 3}
    await desk.wait("a")
    assert await counts(desk, batch) == {"pending": 3, "running": 2, "waiting": 1}
    await desk.resume("a")
    await desk.release("b")
    assert await counts(desk, batch) == {"pending": 4, "running": 2}
    await desk.pause("d")
    assert await counts(desk, batch) == {"pending": 3, "running": 2, "waiting": 1}
    await desk.complete("a")
    await desk.complete("e", "failed")
    await desk.cancel("f")
    assert await counts(desk, batch) == {
        "pending": 1, "running": 1, "waiting": 1, "completed": 1, "failed": 1, "cancelled": 1,
    }  # fmt: skip
    clock.advance(61_000)
    assert [one.run.run_id for one in await desk.referee()] == ["c"]
    assert await counts(desk, batch) == {
        "pending": 2, "waiting": 1, "completed": 1, "failed": 1, "cancelled": 1,
    }  # fmt: skip


async def test_an_end_that_is_told_again_counts_once(desk):
    batch = (await desk.create_batch("a", "b")).batch
    for status in ("completed", "completed", "failed"):
        await desk.complete("a", status)
    assert await counts(desk, batch) == {"pending": 1, "completed": 1}


async def test_a_batch_is_complete_with_the_end_of_its_last_run(desk, clock):
    batch = (await desk.create_batch("a", "b")).batch
    clock.advance(5)
    await desk.claim(limit=1)
    assert (await desk.batch(batch)).started_at == clock.now
    await desk.complete("a")
    assert (await desk.batch(batch)).completed_at is None
    started = clock.now
    clock.advance(5)
    await desk.complete("b", "failed")
    found = await desk.batch(batch)
    assert (found.status, found.started_at, found.completed_at) == ("completed", started, clock.now)
    clock.advance(5)
    await desk.complete("b", "failed")
    assert await desk.batch(batch) == found


async def test_a_run_that_names_a_batch_joins_it(desk):
    batch = (await desk.create_batch("a")).batch
    await desk.create("b", batch_id=batch.id)
    await desk.complete("a")
    assert await counts(desk, batch) == {"pending": 1, "completed": 1}
    await desk.complete("b")
    assert (await desk.batch(batch)).status == "completed"


async def test_nobody_joins_a_batch_that_is_over(desk, refusal):
    done = (await desk.create_batch("a")).batch
    off = (await desk.create_batch("b")).batch
    await desk.complete("a")
    await desk.call_off(off)
    for batch in (done, off):
        assert await refusal(desk.create("late", batch_id=batch.id)) == "BATCH_CLOSED"
    assert await desk.row("late") is None


async def test_a_batch_id_that_names_none_of_the_project_is_a_label(desk):
    elsewhere = (await desk.create_batch("a", project_id=OTHER)).batch
    for name, batch_id in (("b", LABEL), ("c", elsewhere.id)):
        run = await desk.create(name, batch_id=batch_id)
        assert run.batch_id == batch_id
        await desk.complete(name)
    assert (await desk.batch(elsewhere, OTHER)).total == 1
    assert await desk.batch(elsewhere) is None
    assert await desk.store.batches.get(PROJECT, LABEL) is None


async def test_a_run_that_is_deleted_stays_counted(desk):
    batch = (await desk.create_batch("a", "b")).batch
    await desk.complete("a", "failed")
    await desk.delete("a")
    assert (await desk.batch(batch)).counts == (1, 0, 0, 0, 1, 0)
    await desk.complete("b")
    assert (await desk.batch(batch)).status == "completed"


async def test_no_run_of_a_batch_that_was_called_off_is_claimed(desk):
    batch = (await desk.create_batch("a", "b", batch_id=LABEL, cancel_reason=None)).batch
    await desk.create("free")
    elsewhere = await desk.create("d", project_id=OTHER, batch_id=LABEL)
    assert (await desk.call_off(batch)).accepted
    for query in (
        {},
        {"targets": ("task:x",), "kinds": ("task", "eval")},
        {"kinds": ("task", "eval"), "limit": 5},
    ):
        assert set(await desk.claim_ids(**query)) <= {"free"}
    assert (await desk.row("free")).status is RunStatus.RUNNING
    assert [run.uid for run in await desk.claim(project_id=OTHER)] == [elsewhere.uid]


async def test_a_batch_is_cancelled_piece_by_piece_with_all_that_runs_below(desk):
    batch = (await desk.create_batch(*"abcde")).batch
    await desk.create("below", parent="c")
    await desk.create("deeper", parent="below", batch_id=batch.id)
    await desk.create("beside")
    await desk.complete("a")
    off = (await desk.call_off(batch, "enough")).batch
    assert (off.status, off.cancel_reason) == ("cancelling", "enough")
    [first, second] = await desk.cancel_some(off, 2)
    assert [first.run.run_id, second.run.run_id] == ["b", "c"]
    assert [run.run_id for run in second.cancelled] == ["below", "deeper"]
    assert second.run.descendants_active == 0
    assert await counts(desk, batch) == {"completed": 1, "cancelled": 3, "pending": 2}
    assert [one.id for one in await desk.store.batches.unfinished(10)] == [batch.id]
    assert [one.run.run_id for one in await desk.cancel_some(off, 256)] == ["d", "e"]
    assert await desk.cancel_some(off) == []
    assert await counts(desk, batch) == {"completed": 1, "cancelled": 5}
    assert (await desk.batch(batch)).status == "cancelled"
    assert await desk.store.batches.unfinished(10) == []
    assert {(await desk.row(name)).cancel_reason for name in ("b", "below", "deeper", "e")} == {"enough"}
    assert (await desk.row("beside")).status is RunStatus.PENDING


async def test_a_run_of_the_batch_below_another_one_of_it_is_cancelled_once(desk):
    batch = (await desk.create_batch("a")).batch
    await desk.create("b", parent="a", batch_id=batch.id)
    off = (await desk.call_off(batch)).batch
    [written] = await desk.cancel_some(off)
    assert (written.run.run_id, [run.run_id for run in written.cancelled]) == ("a", ["b"])
    assert await counts(desk, batch) == {"cancelled": 2}


async def test_calling_off_is_done_once(desk, refusal):
    batch = (await desk.create_batch("a")).batch
    first = await desk.call_off(batch, "one")
    second = await desk.call_off(batch, "two")
    assert (first.accepted, second.accepted, second.batch.cancel_reason) == (True, False, "one")
    done = (await desk.create_batch("b")).batch
    await desk.complete("b")
    assert (await desk.call_off(done)).batch.status == "completed"
    missing = rules.Batch(LABEL, PROJECT, 0)
    assert await refusal(desk.call_off(missing)) == "NOT_FOUND"


async def test_batches_come_newest_first_and_page_by_page(desk):
    made = [(await desk.create_batch(f"run-{n}")).batch for n in range(5)]
    await desk.create_batch("x", project_id=OTHER)
    first = await desk.store.batches.page(BatchQuery(PROJECT, 2))
    second = await desk.store.batches.page(BatchQuery(PROJECT, 10, first[-1].seq))
    assert [one.id for one in first + second] == [one.id for one in reversed(made)]
    assert first[0] == made[-1]


async def test_what_is_to_follow_is_told_until_it_was_done(desk):
    batch = (await desk.create_batch("a", on_complete=b"{}")).batch
    await desk.create_batch("b")
    off = (await desk.create_batch("c", on_complete=b"{}")).batch
    await desk.call_off(off)
    await desk.cancel_some(off)
    assert await desk.store.batches.unfinished(10) == []
    await desk.complete("a")
    await desk.complete("b")
    [due] = await desk.store.batches.unfinished(10)
    assert due.id == batch.id
    done = [
        await desk.store.batches.change(PROJECT, batch.id, lambda to, now: rules.followed_up(to, now=now))
        for _ in range(2)
    ]
    assert [one.accepted for one in done] == [True, False]
    assert await desk.store.batches.unfinished(10) == []
