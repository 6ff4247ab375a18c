"""A family's events have one order, and a cursor in it never loses or repeats an event."""

import pytest

from runstead.core.queue.worker import Session
from runstead.core.runs.run import RunStatus

PRIVATE = "AGENT_RUN_MODEL_CALL_CONTEXT"


async def pairs(desk, run_id, after=0, **options):
    """("run", event_id) of all that a family's log tells after a position."""
    return [one[:2] for one in (await desk.family(run_id, after, **options))[0]]


async def chatter(desk, event, *names):
    """One event each, in this order."""
    for name in names:
        await desk.append(name, event())


async def test_a_run_alone_is_its_own_family(desk, event):
    await desk.create("root")
    assert await desk.family("root") == ([], 0)
    await desk.append("root", event(), event())
    assert await desk.family("root") == ([("root", 1, 1), ("root", 2, 2)], 2)


async def test_events_of_a_family_come_in_the_order_in_which_they_were_stored(desk, event):
    await desk.create("root")
    await chatter(desk, event, "root", "root")
    await desk.create("a", parent="root")
    await desk.create("b", parent="a")
    await chatter(desk, event, "b", "root", "a", "a", "b")
    found, end = await desk.family("root")
    assert [one[:2] for one in found] == [
        ("root", 1),
        ("root", 2),
        ("b", 1),
        ("root", 3),
        ("a", 1),
        ("a", 2),
        ("b", 2),
    ]
    assert ([one[2] for one in found], end) == (list(range(1, 8)), 7)


@pytest.mark.parametrize("step", [1, 2, 3, 100])
async def test_pages_of_any_length_tell_every_event_once(desk, event, step):
    await desk.create("root")
    await desk.create("a", parent="root")
    await desk.append("a", *[event(n=n) for n in range(5)])
    await chatter(desk, event, "root", "a", "root")
    await desk.append("a", event(n=7), event(n=8))
    whole = await pairs(desk, "root")
    assert len(whole) == 10
    assert await pairs(desk, "root", step=step) == whole
    for after in range(11):
        assert await pairs(desk, "root", after, step=step) == whole[after:]


async def test_a_cursor_taken_while_the_root_was_alone_goes_on_when_it_has_children(desk, event):
    await desk.create("root")
    await chatter(desk, event, "root", "root", "root")
    _, end = await desk.family("root")
    await desk.create("a", parent="root")
    assert await pairs(desk, "root", end) == []
    await chatter(desk, event, "a", "root")
    assert await pairs(desk, "root", end) == [("a", 1), ("root", 4)]
    assert await pairs(desk, "root", 1) == [("root", 2), ("root", 3), ("a", 1), ("root", 4)]


async def test_a_cursor_outlives_the_only_child_and_the_next_one(desk, event):
    await desk.create("root")
    await chatter(desk, event, "root")
    await desk.create("a", parent="root")
    await chatter(desk, event, "a", "root")
    await desk.complete("a")
    _, end = await desk.family("root")
    await desk.delete("a")
    assert await pairs(desk, "root", end) == []
    await chatter(desk, event, "root", "root")
    assert await pairs(desk, "root", end) == [("root", 3), ("root", 4)]
    await desk.create("b", parent="root")
    await chatter(desk, event, "b", "root")
    assert await pairs(desk, "root", end) == [("root", 3), ("root", 4), ("b", 1), ("root", 5)]
    assert await desk.family("root") == (
        [("root", 1, 1), ("root", 2, 3), ("root", 3, 5), ("root", 4, 6), ("b", 1, 7), ("root", 5, 8)],
        8,
    )


async def test_the_places_of_a_deleted_run_are_not_given_again(desk, event):
    await desk.create("root")
    await desk.create("a", parent="root")
    await chatter(desk, event, "a", "a")
    await desk.complete("a")
    _, end = await desk.family("root")
    await desk.delete("a")
    assert await desk.family("root") == ([], end)
    await chatter(desk, event, "root")
    assert await desk.family("root", end) == ([("root", 1, end + 1)], end + 1)


async def test_a_run_below_the_root_tells_of_itself_and_of_those_below_it(desk, event):
    await desk.create("root")
    await desk.create("a", parent="root")
    await desk.create("a1", parent="a")
    await desk.create("b", parent="root")
    await chatter(desk, event, "root", "a1", "b", "a", "b")
    assert await pairs(desk, "a") == [("a1", 1), ("a", 1)]
    assert await pairs(desk, "a1") == [("a1", 1)]
    _, end = await desk.family("a")
    assert end == 5  # how far was read, whatever was told


async def test_private_events_take_a_place_and_are_not_told(desk, event):
    await desk.create("root")
    await desk.create("a", parent="root")
    await desk.append("a", event(), event(PRIVATE), event())
    assert await desk.family("root") == ([("a", 1, 1), ("a", 3, 3)], 3)


async def test_types_are_chosen_over_the_family(desk, event):
    await desk.create("root")
    await desk.create("a", parent="root")
    await desk.append("root", event("A"), event("B"))
    await desk.append("a", event("B"), event("C"))
    assert await pairs(desk, "root", types=("B",)) == [("root", 2), ("a", 1)]
    assert await pairs(desk, "root", step=1, types=("C", "A")) == [("root", 1), ("a", 2)]


async def test_a_page_of_large_events_is_shorter_and_goes_on(desk, event):
    await desk.create("root")
    await desk.create("a", parent="root")
    for name in ("root", "a", "root", "a"):
        await desk.append(name, event(x="x" * 1_000))
    run = await desk.row("root")
    page = await desk.runs.family_events(run, 0, 100, 2_500)
    assert (len(page.events), page.more, page.reached) == (2, True, 2)
    page = await desk.runs.family_events(run, 0, 100, 10)
    assert (len(page.events), page.more) == (1, True)
    assert await pairs(desk, "root", bytes_max=10) == await pairs(desk, "root")


async def test_a_page_tells_whether_the_run_and_all_below_it_have_ended(desk):
    await desk.create("root")
    await desk.create("a", parent="root")
    await desk.create("b", parent="root")

    async def ended(name):
        run = await desk.row(name)
        return (await desk.runs.family_events(run, 0, 10)).ended

    await desk.complete("a")
    assert (await ended("a"), await ended("root")) == (True, False)
    await desk.complete("root")
    assert not await ended("root")
    await desk.complete("b")
    assert await ended("root")


async def test_a_family_that_is_cancelled_ends_in_order(desk):
    await desk.create("root")
    await desk.create("a", parent="root")
    await desk.create("b", parent="a")
    await desk.cancel("root")
    assert await pairs(desk, "root") == [("root", 1), ("a", 1), ("b", 1)]
    assert (await desk.runs.family_events(await desk.row("root"), 0, 10)).ended


async def test_a_cursor_ahead_of_the_log_is_taken_for_its_end(desk, event):
    await desk.create("root")
    await chatter(desk, event, "root")
    assert await desk.family("root", 900) == ([], 1)
    await desk.create("a", parent="root")
    await chatter(desk, event, "a")
    assert await desk.family("root", 900) == ([], 2)


async def test_families_know_nothing_of_each_other(desk, event):
    for root in ("one", "two"):
        await desk.create(root)
        await desk.create(f"{root}-a", parent=root)
    await chatter(desk, event, "one", "two-a", "one-a", "two")
    assert await desk.family("one") == ([("one", 1, 1), ("one-a", 1, 2)], 2)
    assert await desk.family("two") == ([("two-a", 1, 1), ("two", 1, 2)], 2)


async def test_a_family_of_thousands_is_read_in_order(desk, event, engine):
    count = 600 if engine == "postgres" else 1_500  # each takes longer there
    await desk.create("root")
    for n in range(count):
        await desk.create(f"c-{n}", parent="root")
        await desk.append(f"c-{n}", event())
    found = await pairs(desk, "root", step=499)
    assert found == [(f"c-{n}", 1) for n in range(count)]
    assert await pairs(desk, "root", count - 2) == [(f"c-{count - 2}", 1), (f"c-{count - 1}", 1)]


async def test_one_event_is_found_by_its_number(desk, event):
    run = await desk.create("root")
    await desk.append("root", event("A"), event(PRIVATE))
    assert (await desk.runs.event(run.seq, 1)).type == "A"
    for number in (-1, 0, 2, 3, 1 << 24, 1 << 40):
        assert await desk.runs.event(run.seq, number) is None


async def test_public_events_are_counted_by_type(desk, event, clock):
    run = await desk.create("root")
    assert await desk.runs.event_counts(run.seq) == []
    await desk.append("root", event("B"), event(PRIVATE))
    first = clock.now
    clock.advance(1_000)
    await desk.append("root", event("A"), event("B"))
    counts = await desk.runs.event_counts(run.seq)
    told = [(one.type, one.count, one.first_at, one.last_at) for one in counts]
    assert told == [("B", 2, first, clock.now), ("A", 1, clock.now, clock.now)]


async def test_a_deleted_run_leaves_nothing_behind(desk, event, store):
    await desk.create("root")
    await desk.create("a", parent="root")
    await desk.claim("ann", limit=2)
    run = await desk.row("a")
    await store.workers.put_session(run.seq, Session("s", "a", "python", "ann", "key", "active", 0, 0))
    await desk.append("a", event(key="k"))
    await desk.release("a", retry_after_ms=0)
    assert len(await desk.runs.attempts(run.seq)) == 1
    await desk.wait("a", call="call-1")
    await desk.resume("a", call="call-1")
    await desk.complete("a")
    run = await desk.row("a")
    await desk.delete("a")
    assert await desk.row("a") is None
    assert await desk.runs.latest_event_ids([run.seq]) == {}
    assert await desk.runs.events(run.seq, 0, 10) == []
    assert await desk.runs.attempts(run.seq) == []
    assert await store.workers.session(run.seq) is None
    assert [one.run_id for one in await desk.runs.children((await desk.row("root")).seq, 10)] == []
    root = await desk.row("root")
    assert (root.descendants_total, root.descendants_active) == (0, 0)
    again = await desk.create("a", parent="root")
    assert again.seq > run.seq
    assert (await desk.append("a", event(key="k"))).run.latest_event_id == 1
    assert again.status is RunStatus.PENDING


async def test_a_run_that_is_alive_or_has_runs_below_it_is_not_deleted(desk, refusal):
    await desk.create("root")
    await desk.create("a", parent="root")
    assert await refusal(desk.delete("a")) == "RUN_NOT_TERMINAL"
    await desk.complete("root")
    assert await refusal(desk.delete("root")) == "RUN_HAS_CHILDREN"
    assert len(await desk.rows()) == 2


async def test_counters_above_a_deleted_run_are_corrected_all_the_way_up(desk):
    await desk.create("root")
    await desk.create("a", parent="root")
    for name in ("b", "c"):
        await desk.create(name, parent="a")
    await desk.complete("b")
    await desk.delete("b")
    for name, counters in (("a", (1, 1)), ("root", (2, 2))):
        run = await desk.row(name)
        assert (run.descendants_total, run.descendants_active) == counters
