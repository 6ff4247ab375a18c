"""Parents, children, their counters, and the cancel that takes a family along."""

import asyncio

import pytest

from runstead.core.runs.event import NewEvent
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions import rewrite
from runstead.ports.store import SeqPage


async def grow(driver):
    """root → (left → (leaf), right), and a stranger."""
    await driver.create("root")
    await driver.create("left", parent="root")
    await driver.create("right", parent="root")
    await driver.create("leaf", parent="left")
    await driver.create("stranger")


async def counters(driver, *run_ids):
    rows = [await driver.row(run_id) for run_id in run_ids]
    return [(run.descendants_total, run.descendants_active) for run in rows]


async def statuses(driver):
    return {run.run_id: run.status.value for run in await driver.rows()}


async def test_a_child_knows_its_ancestors(driver):
    await grow(driver)
    root, left, leaf = [await driver.row(run_id) for run_id in ("root", "left", "leaf")]
    assert (leaf.parent_run_id, leaf.parent_seq) == ("left", left.seq)
    assert (leaf.root_run_id, leaf.root_seq) == ("root", root.seq)
    assert leaf.path == f"/{root.seq}/{left.seq}/"
    assert left.path == f"/{root.seq}/"


async def test_a_parent_that_is_missing_is_not_found_and_nothing_is_stored(driver, refusal):
    assert await refusal(driver.create("orphan", parent="unknown")) == "NOT_FOUND"
    assert await driver.row("orphan") is None


async def test_a_parent_in_another_project_is_not_found(driver, refusal):
    await driver.create("theirs", project_id="p-2")
    assert await refusal(driver.create("orphan", parent="theirs")) == "NOT_FOUND"


async def test_a_parent_under_a_cancelled_run_accepts_no_child(driver, refusal):
    await grow(driver)
    await driver.complete("leaf")  # it ended before its parent was cancelled
    await driver.cancel("root")
    assert await refusal(driver.create("late", parent="leaf")) == "PARENT_CANCELLED"
    assert await refusal(driver.create("late", parent="root")) == "PARENT_CANCELLED"
    assert await driver.row("late") is None


async def test_a_run_that_only_ended_still_accepts_children(driver):
    await grow(driver)
    await driver.complete("root")
    await driver.create("late", parent="leaf")
    assert await counters(driver, "root", "left", "leaf") == [(4, 4), (2, 2), (1, 1)]


async def test_every_ancestor_counts_a_new_run(driver):
    await grow(driver)
    assert await counters(driver, "root", "left", "right", "leaf", "stranger") == [
        (3, 3),
        (1, 1),
        (0, 0),
        (0, 0),
        (0, 0),
    ]


async def test_every_ancestor_counts_an_end_once(driver):
    await grow(driver)
    await driver.complete("leaf")
    await driver.complete("leaf")
    assert await counters(driver, "root", "left", "right") == [(3, 2), (1, 0), (0, 0)]


async def test_counters_leave_the_ancestors_version_and_time_alone(driver, clock):
    before = await driver.create("root")
    clock.advance_ms(1_000)
    await driver.create("left", parent="root")
    after = await driver.row("root")
    assert (after.version, after.updated_at) == (before.version, before.updated_at)


async def test_counters_hold_when_a_whole_family_moves_at_once(driver):
    await driver.create("root")
    await asyncio.gather(
        *(driver.create(f"child-{n}", parent="root") for n in range(20)),
        *(driver.touch("root", title=str(n)) for n in range(10)),
    )
    await asyncio.gather(
        *(driver.complete(f"child-{n}") for n in range(15)),
        *(driver.touch("root", title=str(n)) for n in range(10)),
    )
    assert await counters(driver, "root") == [(20, 5)]


async def test_cancelling_takes_every_descendant_that_has_not_ended(driver, clock):
    await grow(driver)
    await driver.complete("right", "failed", error_message="broken")
    written = await driver.cancel("root", "enough")
    assert {run.run_id for run in written.cancelled} == {"left", "leaf"}
    assert await statuses(driver) == {
        "root": "cancelled",
        "left": "cancelled",
        "right": "failed",
        "leaf": "cancelled",
        "stranger": "pending",
    }
    leaf = await driver.row("leaf")
    assert (leaf.cancel_reason, leaf.cancel_requested_at, leaf.completed_at) == (
        "enough",
        clock.now,
        clock.now,
    )
    assert [e.type for e in await driver.log("leaf")] == ["RUN_ERROR"]
    assert await counters(driver, "root", "left") == [(3, 0), (1, 0)]


async def test_a_cancel_hands_back_the_rows_as_they_now_stand(driver):
    await grow(driver)
    written = await driver.cancel("root")
    assert written.run == await driver.row("root")
    for run in written.cancelled:
        assert run == await driver.row(run.run_id)


async def test_cancelling_in_the_middle_spares_those_above_and_beside(driver):
    await grow(driver)
    written = await driver.cancel("left")
    assert [run.run_id for run in written.cancelled] == ["leaf"]
    found = await statuses(driver)
    assert (found["root"], found["right"]) == ("pending", "pending")
    assert await counters(driver, "root", "left") == [(3, 1), (1, 0)]


async def test_a_completion_as_cancelled_takes_the_family_along_too(driver):
    await grow(driver)
    written = await driver.complete("root", "cancelled")
    assert len(written.cancelled) == 3
    assert await counters(driver, "root") == [(3, 0)]


async def test_other_ends_leave_the_family_alone(driver):
    await grow(driver)
    assert (await driver.complete("root", "failed")).cancelled == ()
    assert (await statuses(driver))["leaf"] == "pending"


async def test_a_path_is_no_prefix_of_a_longer_number(driver):
    """Run 1 is not an ancestor of the children of run 10."""
    for n in range(1, 12):
        await driver.create(f"run-{n}")
    for n in range(1, 12):
        await driver.create(f"child-{n}", parent=f"run-{n}")
    written = await driver.cancel("run-1")
    assert [run.run_id for run in written.cancelled] == ["child-1"]


async def test_a_cascade_that_breaks_leaves_nothing(driver, idempotent):
    await grow(driver)

    def broken(_):
        raise ZeroDivisionError

    before = await driver.rows()
    with pytest.raises(ZeroDivisionError):
        await driver.cancel("root", idempotency=idempotent(render=broken))
    assert await driver.rows() == before
    assert await driver.whole_log("leaf") == []


async def test_of_a_cancel_and_a_childs_completion_one_wins(driver):
    for n in range(10):
        await driver.create(f"root-{n}")
        await driver.create(f"child-{n}", parent=f"root-{n}")
    await asyncio.gather(
        *(
            driver.cancel(f"root-{n}") if flip else driver.complete(f"child-{n}")
            for n in range(10)
            for flip in (n % 2, not n % 2)
        )
    )
    for n in range(10):
        assert await counters(driver, f"root-{n}") == [(1, 0)]
        assert len(await driver.log(f"child-{n}")) == 1


async def test_a_transition_may_bring_events_and_an_end_to_a_child(driver):
    await grow(driver)

    def rule(loaded):
        new = rewrite(loaded.run, loaded.now, latest_event_id=loaded.run.latest_event_id + 1)
        return Transition(new, events=(NewEvent("CUSTOM", b'{"type":"CUSTOM"}'),), family_active=-1)

    await driver.change("leaf", rule)
    assert await counters(driver, "root", "left", "leaf") == [(3, 2), (1, 0), (0, 0)]


def ids(page):
    return [run.run_id for run in page.rows]


async def test_children_come_oldest_first_and_no_deeper(driver):
    await grow(driver)
    root = await driver.row("root")
    assert ids(await driver.runs.children(root.seq, SeqPage(100))) == ["left", "right"]
    first = await driver.runs.children(root.seq, SeqPage(1))
    assert (ids(first), first.more) == (["left"], True)
    rest = await driver.runs.children(root.seq, SeqPage(1, first.rows[-1].seq))
    assert (ids(rest), rest.more) == (["right"], False)
    assert ids(await driver.runs.children((await driver.row("leaf")).seq, SeqPage(100))) == []


async def test_a_family_is_its_root_and_all_below(driver):
    await grow(driver)
    root = await driver.row("root")
    family = await driver.runs.family(root.seq, SeqPage(100))
    assert (ids(family), family.more) == (["root", "left", "right", "leaf"], False)
    assert family.rows[0] == root
    for limit in (1, 2, 3, 4):
        first = await driver.runs.family(root.seq, SeqPage(limit))
        assert first.more == (limit < 4)
        rest = await driver.runs.family(root.seq, SeqPage(100, first.rows[-1].seq))
        assert first.rows + rest.rows == family.rows


async def test_a_part_of_a_family_is_a_run_and_its_descendants(driver):
    await grow(driver)
    root = await driver.row("root")

    async def part(name, *page):
        return ids(await driver.runs.family(root.seq, SeqPage(*page), (await driver.row(name)).seq))

    assert await part("root", 100) == ["root", "left", "right", "leaf"]
    assert await part("left", 100) == ["left", "leaf"]
    assert await part("left", 1) == ["left"]
    assert await part("left", 100, (await driver.row("left")).seq) == ["leaf"]
    assert await part("right", 100) == ["right"]


async def test_a_lonely_run_is_its_own_family(driver):
    run = await driver.create("run-1")
    assert (await driver.runs.family(run.seq, SeqPage(100))).rows == [run]


async def test_a_deep_family_is_cancelled_as_a_whole(driver):
    await driver.create("run-0")
    for n in range(1, 40):
        await driver.create(f"run-{n}", parent=f"run-{n - 1}")
    written = await driver.cancel("run-0")
    assert len(written.cancelled) == 39
    assert {run.status for run in await driver.rows()} == {RunStatus.CANCELLED}
    assert await counters(driver, "run-0", "run-20", "run-39") == [(39, 0), (19, 0), (0, 0)]
