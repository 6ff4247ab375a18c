"""A family's events have one order, and a cursor in it never loses or repeats an event."""

import pytest

from runstead.core.queue.worker import Session
from runstead.core.runs.run import RunStatus
from runstead.ports.store import SeqPage

PRIVATE = "AGENT_RUN_MODEL_CALL_CONTEXT"


async def pairs(driver, run_id, after=0, **options):
    """("run", event_id) of a family's events after a position."""
    return [one[:2] for one in (await driver.family(run_id, after, **options))[0]]


async def chatter(driver, event, *names):
    """One event each, in this order."""
    for name in names:
        await driver.append(name, event())


async def test_a_run_alone_is_its_own_family(driver, event):
    await driver.create("root")
    assert await driver.family("root") == ([], 0)
    await driver.append("root", event(), event())
    assert await driver.family("root") == ([("root", 1, 1), ("root", 2, 2)], 2)


async def test_events_of_a_family_come_in_the_order_in_which_they_were_stored(driver, event):
    await driver.create("root")
    await chatter(driver, event, "root", "root")
    await driver.create("a", parent="root")
    await driver.create("b", parent="a")
    await chatter(driver, event, "b", "root", "a", "a", "b")
    found, end = await driver.family("root")
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
async def test_pages_of_any_length_contain_every_event_once(driver, event, step):
    await driver.create("root")
    await driver.create("a", parent="root")
    await driver.append("a", *[event(n=n) for n in range(5)])
    await chatter(driver, event, "root", "a", "root")
    await driver.append("a", event(n=7), event(n=8))
    whole = await pairs(driver, "root")
    assert len(whole) == 10
    assert await pairs(driver, "root", step=step) == whole
    for after in range(11):
        assert await pairs(driver, "root", after, step=step) == whole[after:]


async def test_a_cursor_taken_while_the_root_was_alone_goes_on_when_it_has_children(driver, event):
    await driver.create("root")
    await chatter(driver, event, "root", "root", "root")
    _, end = await driver.family("root")
    await driver.create("a", parent="root")
    assert await pairs(driver, "root", end) == []
    await chatter(driver, event, "a", "root")
    assert await pairs(driver, "root", end) == [("a", 1), ("root", 4)]
    assert await pairs(driver, "root", 1) == [("root", 2), ("root", 3), ("a", 1), ("root", 4)]


async def test_a_cursor_outlives_the_only_child_and_the_next_one(driver, event):
    await driver.create("root")
    await chatter(driver, event, "root")
    await driver.create("a", parent="root")
    await chatter(driver, event, "a", "root")
    await driver.complete("a")
    _, end = await driver.family("root")
    await driver.delete("a")
    assert await pairs(driver, "root", end) == []
    await chatter(driver, event, "root", "root")
    assert await pairs(driver, "root", end) == [("root", 3), ("root", 4)]
    await driver.create("b", parent="root")
    await chatter(driver, event, "b", "root")
    assert await pairs(driver, "root", end) == [("root", 3), ("root", 4), ("b", 1), ("root", 5)]
    assert await driver.family("root") == (
        [("root", 1, 1), ("root", 2, 3), ("root", 3, 5), ("root", 4, 6), ("b", 1, 7), ("root", 5, 8)],
        8,
    )


async def test_the_places_of_a_deleted_run_are_not_given_again(driver, event):
    await driver.create("root")
    await driver.create("a", parent="root")
    await chatter(driver, event, "a", "a")
    await driver.complete("a")
    _, end = await driver.family("root")
    await driver.delete("a")
    assert await driver.family("root") == ([], end)
    await chatter(driver, event, "root")
    assert await driver.family("root", end) == ([("root", 1, end + 1)], end + 1)


async def test_a_child_shows_its_own_events_and_those_of_its_descendants(driver, event):
    await driver.create("root")
    await driver.create("a", parent="root")
    await driver.create("a1", parent="a")
    await driver.create("b", parent="root")
    await chatter(driver, event, "root", "a1", "b", "a", "b")
    assert await pairs(driver, "a") == [("a1", 1), ("a", 1)]
    assert await pairs(driver, "a1") == [("a1", 1)]
    _, end = await driver.family("a")
    assert end == 5  # the last position read


async def test_private_events_take_a_position_and_are_not_shown(driver, event):
    await driver.create("root")
    await driver.create("a", parent="root")
    await driver.append("a", event(), event(PRIVATE), event())
    assert await driver.family("root") == ([("a", 1, 1), ("a", 3, 3)], 3)


async def test_types_are_chosen_over_the_family(driver, event):
    await driver.create("root")
    await driver.create("a", parent="root")
    await driver.append("root", event("A"), event("B"))
    await driver.append("a", event("B"), event("C"))
    assert await pairs(driver, "root", types=("B",)) == [("root", 2), ("a", 1)]
    assert await pairs(driver, "root", step=1, types=("C", "A")) == [("root", 1), ("a", 2)]


async def test_a_page_of_large_events_is_shorter_and_goes_on(driver, event):
    await driver.create("root")
    await driver.create("a", parent="root")
    for name in ("root", "a", "root", "a"):
        await driver.append(name, event(x="x" * 1_000))
    run = await driver.row("root")
    page = await driver.runs.family_events(run, 0, 100, 2_500)
    assert (len(page.events), page.more, page.reached) == (2, True, 2)
    page = await driver.runs.family_events(run, 0, 100, 10)
    assert (len(page.events), page.more) == (1, True)
    assert await pairs(driver, "root", bytes_max=10) == await pairs(driver, "root")


async def test_a_page_shows_whether_the_run_and_its_descendants_have_ended(driver):
    await driver.create("root")
    await driver.create("a", parent="root")
    await driver.create("b", parent="root")

    async def ended(name):
        run = await driver.row(name)
        return (await driver.runs.family_events(run, 0, 10)).ended

    await driver.complete("a")
    assert (await ended("a"), await ended("root")) == (True, False)
    await driver.complete("root")
    assert not await ended("root")
    await driver.complete("b")
    assert await ended("root")


async def test_a_family_that_is_cancelled_ends_in_order(driver):
    await driver.create("root")
    await driver.create("a", parent="root")
    await driver.create("b", parent="a")
    await driver.cancel("root")
    assert await pairs(driver, "root") == [("root", 1), ("a", 1), ("b", 1)]
    assert (await driver.runs.family_events(await driver.row("root"), 0, 10)).ended


async def test_a_cursor_ahead_of_the_log_is_taken_for_its_end(driver, event):
    await driver.create("root")
    await chatter(driver, event, "root")
    assert await driver.family("root", 900) == ([], 1)
    await driver.create("a", parent="root")
    await chatter(driver, event, "a")
    assert await driver.family("root", 900) == ([], 2)


async def test_families_know_nothing_of_each_other(driver, event):
    for root in ("one", "two"):
        await driver.create(root)
        await driver.create(f"{root}-a", parent=root)
    await chatter(driver, event, "one", "two-a", "one-a", "two")
    assert await driver.family("one") == ([("one", 1, 1), ("one-a", 1, 2)], 2)
    assert await driver.family("two") == ([("two-a", 1, 1), ("two", 1, 2)], 2)


async def test_a_family_of_thousands_is_read_in_order(driver, event, engine):
    count = 600 if engine == "postgres" else 1_500  # each takes longer there
    await driver.create("root")
    for n in range(count):
        await driver.create(f"c-{n}", parent="root")
        await driver.append(f"c-{n}", event())
    found = await pairs(driver, "root", step=499)
    assert found == [(f"c-{n}", 1) for n in range(count)]
    assert await pairs(driver, "root", count - 2) == [(f"c-{count - 2}", 1), (f"c-{count - 1}", 1)]


async def test_one_event_is_found_by_its_number(driver, event):
    run = await driver.create("root")
    await driver.append("root", event("A"), event(PRIVATE))
    assert (await driver.runs.event(run.seq, 1)).type == "A"
    for number in (-1, 0, 2, 3, 1 << 24, 1 << 40):
        assert await driver.runs.event(run.seq, number) is None


async def test_public_events_are_counted_by_type(driver, event, clock):
    run = await driver.create("root")
    assert await driver.runs.event_counts(run.seq) == []
    await driver.append("root", event("B"), event(PRIVATE))
    first = clock.now
    clock.advance_ms(1_000)
    await driver.append("root", event("A"), event("B"))
    counts = await driver.runs.event_counts(run.seq)
    counts_by_type = [(one.type, one.count, one.first_at, one.last_at) for one in counts]
    assert counts_by_type == [("B", 2, first, clock.now), ("A", 1, clock.now, clock.now)]


async def test_a_deleted_run_leaves_nothing_behind(driver, event, store):
    await driver.create("root")
    await driver.create("a", parent="root")
    await driver.claim("ann", limit=2)
    run = await driver.row("a")
    await store.workers.put_session(run.seq, Session("s", "a", "python", "ann", "key", "active", 0, 0))
    await driver.append("a", event(key="k"))
    await driver.release("a", retry_after_ms=0)
    assert len((await driver.runs.attempts(run.seq)).rows) == 1
    await driver.wait("a", call="call-1")
    await driver.resume("a", call="call-1")
    await driver.complete("a")
    run = await driver.row("a")
    await driver.delete("a")
    assert await driver.row("a") is None
    assert await driver.runs.latest_event_ids([run.seq]) == {}
    assert await driver.runs.events(run.seq, 0, 10) == []
    assert (await driver.runs.attempts(run.seq)).rows == []
    assert await store.workers.session(run.seq) is None
    assert (await driver.runs.children((await driver.row("root")).seq, SeqPage(10))).rows == []
    root = await driver.row("root")
    assert (root.descendants_total, root.descendants_active) == (0, 0)
    again = await driver.create("a", parent="root")
    assert again.seq > run.seq
    assert (await driver.append("a", event(key="k"))).run.latest_event_id == 1
    assert again.status is RunStatus.PENDING


async def test_a_run_that_is_alive_or_has_runs_below_it_is_not_deleted(driver, refusal):
    await driver.create("root")
    await driver.create("a", parent="root")
    assert await refusal(driver.delete("a")) == "RUN_NOT_TERMINAL"
    await driver.complete("root")
    assert await refusal(driver.delete("root")) == "RUN_HAS_CHILDREN"
    assert len(await driver.rows()) == 2


async def test_counters_above_a_deleted_run_are_corrected_all_the_way_up(driver):
    await driver.create("root")
    await driver.create("a", parent="root")
    for name in ("b", "c"):
        await driver.create(name, parent="a")
    await driver.complete("b")
    await driver.delete("b")
    for name, counters in (("a", (1, 1)), ("root", (2, 2))):
        run = await driver.row(name)
        assert (run.descendants_total, run.descendants_active) == counters
