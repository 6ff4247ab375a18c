"""Parents, children, their counters, and the cancel that takes a family along."""

import asyncio

import pytest

from runstead.core.runs.event import NewEvent
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions import rewrite


async def grow(desk):
    """root → (left → (leaf), right), and a stranger."""
    await desk.create("root")
    await desk.create("left", parent="root")
    await desk.create("right", parent="root")
    await desk.create("leaf", parent="left")
    await desk.create("stranger")


async def counters(desk, *run_ids):
    rows = [await desk.row(run_id) for run_id in run_ids]
    return [(run.descendants_total, run.descendants_active) for run in rows]


async def statuses(desk):
    return {run.run_id: run.status.value for run in await desk.rows()}


async def test_a_child_knows_its_line(desk):
    await grow(desk)
    root, left, leaf = [await desk.row(run_id) for run_id in ("root", "left", "leaf")]
    assert (leaf.parent_run_id, leaf.parent_seq) == ("left", left.seq)
    assert (leaf.root_run_id, leaf.root_seq) == ("root", root.seq)
    assert leaf.path == f"/{root.seq}/{left.seq}/"
    assert left.path == f"/{root.seq}/"


async def test_a_parent_that_is_missing_is_not_found_and_nothing_is_stored(desk, refusal):
    assert await refusal(desk.create("orphan", parent="nobody")) == "NOT_FOUND"
    assert await desk.row("orphan") is None


async def test_a_parent_in_another_project_is_not_found(desk, refusal):
    await desk.create("theirs", project_id="p-2")
    assert await refusal(desk.create("orphan", parent="theirs")) == "NOT_FOUND"


async def test_a_parent_under_a_cancelled_run_accepts_no_child(desk, refusal):
    await grow(desk)
    await desk.complete("leaf")  # it ended by itself, before the run above it was cancelled
    await desk.cancel("root")
    assert await refusal(desk.create("late", parent="leaf")) == "PARENT_CANCELLED"
    assert await refusal(desk.create("late", parent="root")) == "PARENT_CANCELLED"
    assert await desk.row("late") is None


async def test_a_run_that_only_ended_still_accepts_children(desk):
    await grow(desk)
    await desk.complete("root")
    await desk.create("late", parent="leaf")
    assert await counters(desk, "root", "left", "leaf") == [(4, 4), (2, 2), (1, 1)]


async def test_every_ancestor_counts_a_new_run(desk):
    await grow(desk)
    assert await counters(desk, "root", "left", "right", "leaf", "stranger") == [
        (3, 3),
        (1, 1),
        (0, 0),
        (0, 0),
        (0, 0),
    ]


async def test_every_ancestor_counts_an_end_once(desk):
    await grow(desk)
    await desk.complete("leaf")
    await desk.complete("leaf")
    assert await counters(desk, "root", "left", "right") == [(3, 2), (1, 0), (0, 0)]


async def test_counters_leave_the_ancestors_version_and_time_alone(desk, clock):
    before = await desk.create("root")
    clock.advance(1_000)
    await desk.create("left", parent="root")
    after = await desk.row("root")
    assert (after.version, after.updated_at) == (before.version, before.updated_at)


async def test_counters_hold_when_a_whole_family_moves_at_once(desk):
    await desk.create("root")
    await asyncio.gather(
        *(desk.create(f"child-{n}", parent="root") for n in range(20)),
        *(desk.touch("root", title=str(n)) for n in range(10)),
    )
    await asyncio.gather(
        *(desk.complete(f"child-{n}") for n in range(15)),
        *(desk.touch("root", title=str(n)) for n in range(10)),
    )
    assert await counters(desk, "root") == [(20, 5)]


async def test_cancelling_takes_every_descendant_that_has_not_ended(desk, clock):
    await grow(desk)
    await desk.complete("right", "failed", error_message="broken")
    written = await desk.cancel("root", "enough")
    assert {run.run_id for run in written.cancelled} == {"left", "leaf"}
    assert await statuses(desk) == {
        "root": "cancelled",
        "left": "cancelled",
        "right": "failed",
        "leaf": "cancelled",
        "stranger": "pending",
    }
    leaf = await desk.row("leaf")
    assert (leaf.cancel_reason, leaf.cancel_requested_at, leaf.completed_at) == (
        "enough",
        clock.now,
        clock.now,
    )
    assert [e.type for e in await desk.log("leaf")] == ["RUN_ERROR"]
    assert await counters(desk, "root", "left") == [(3, 0), (1, 0)]


async def test_a_cancel_hands_back_the_rows_as_they_now_stand(desk):
    await grow(desk)
    written = await desk.cancel("root")
    assert written.run == await desk.row("root")
    for run in written.cancelled:
        assert run == await desk.row(run.run_id)


async def test_cancelling_in_the_middle_spares_those_above_and_beside(desk):
    await grow(desk)
    written = await desk.cancel("left")
    assert [run.run_id for run in written.cancelled] == ["leaf"]
    found = await statuses(desk)
    assert (found["root"], found["right"]) == ("pending", "pending")
    assert await counters(desk, "root", "left") == [(3, 1), (1, 0)]


async def test_a_completion_as_cancelled_takes_the_family_along_too(desk):
    await grow(desk)
    written = await desk.complete("root", "cancelled")
    assert len(written.cancelled) == 3
    assert await counters(desk, "root") == [(3, 0)]


async def test_other_ends_leave_the_family_alone(desk):
    await grow(desk)
    assert (await desk.complete("root", "failed")).cancelled == ()
    assert (await statuses(desk))["leaf"] == "pending"


async def test_a_path_is_no_prefix_of_a_longer_number(desk):
    """Run 1 is not above the children of run 10."""
    for n in range(1, 12):
        await desk.create(f"run-{n}")
    for n in range(1, 12):
        await desk.create(f"child-{n}", parent=f"run-{n}")
    written = await desk.cancel("run-1")
    assert [run.run_id for run in written.cancelled] == ["child-1"]


async def test_a_cascade_that_breaks_leaves_nothing(desk, sealed):
    await grow(desk)

    def broken(_):
        raise ZeroDivisionError

    before = await desk.rows()
    with pytest.raises(ZeroDivisionError):
        await desk.cancel("root", seal=sealed(render=broken))
    assert await desk.rows() == before
    assert await desk.whole_log("leaf") == []


async def test_of_a_cancel_and_a_childs_completion_one_wins(desk):
    for n in range(10):
        await desk.create(f"root-{n}")
        await desk.create(f"child-{n}", parent=f"root-{n}")
    await asyncio.gather(
        *(
            desk.cancel(f"root-{n}") if flip else desk.complete(f"child-{n}")
            for n in range(10)
            for flip in (n % 2, not n % 2)
        )
    )
    for n in range(10):
        assert await counters(desk, f"root-{n}") == [(1, 0)]
        assert len(await desk.log(f"child-{n}")) == 1


async def test_a_transition_may_bring_events_and_an_end_to_a_child(desk):
    await grow(desk)

    def rule(loaded):
        new = rewrite(loaded.run, loaded.now, latest_event_id=loaded.run.latest_event_id + 1)
        return Transition(new, events=(NewEvent("CUSTOM", b'{"type":"CUSTOM"}'),), family_active=-1)

    await desk.change("leaf", rule)
    assert await counters(desk, "root", "left", "leaf") == [(3, 2), (1, 0), (0, 0)]


async def test_children_come_oldest_first_and_no_deeper(desk):
    await grow(desk)
    root = await desk.row("root")
    assert [run.run_id for run in await desk.runs.children(root.seq, 100)] == ["left", "right"]
    assert [run.run_id for run in await desk.runs.children(root.seq, 1)] == ["left"]
    assert await desk.runs.children((await desk.row("leaf")).seq, 100) == []


async def test_a_family_is_its_root_and_all_below(desk):
    await grow(desk)
    root = await desk.row("root")
    family = await desk.runs.family(root.seq, 100)
    assert [run.run_id for run in family] == ["root", "left", "right", "leaf"]
    assert family[0] == root
    assert [run.run_id for run in await desk.runs.family(root.seq, 2)] == ["root", "left"]
    assert [run.run_id for run in await desk.runs.family(root.seq, 1)] == ["root"]


async def test_a_lonely_run_is_its_own_family(desk):
    run = await desk.create("run-1")
    assert await desk.runs.family(run.seq, 100) == [run]


async def test_a_long_line_is_cancelled_whole(desk):
    await desk.create("run-0")
    for n in range(1, 40):
        await desk.create(f"run-{n}", parent=f"run-{n - 1}")
    written = await desk.cancel("run-0")
    assert len(written.cancelled) == 39
    assert {run.status for run in await desk.rows()} == {RunStatus.CANCELLED}
    assert await counters(desk, "run-0", "run-20", "run-39") == [(39, 0), (19, 0), (0, 0)]
