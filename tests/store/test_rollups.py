"""Roll-ups of usage and activity are exact at any moment, over every store."""

import asyncio
import itertools

import msgspec
import pytest

from runstead.commands import charts
from runstead.commands.check import check
from runstead.core import limits
from runstead.core.conversations.conversation import Conversation
from runstead.core.errors import Error
from runstead.core.runs.transition import NewMessage
from runstead.core.usage.report import WAYS
from runstead.core.usage.rollup import DAY, Additions
from tests.support.clock import NOON
from tests.support.store_driver import PROJECT

from .rollup_app import (
    ADMIN,
    AGENT,
    ELSEWHERE,
    activity,
    add_all_entries,
    as_of_an_older_version,
    complete,
    figures,
    open_app,
    report,
    sound,
    used,
)


@pytest.fixture
async def app(store):
    return await open_app(store)


@pytest.fixture
def grow_old(store, engine):
    """grow_old(): see `as_of_an_older_version`."""
    return lambda: as_of_an_older_version(store, engine)


# -- one at a time


async def test_a_report_is_the_same_before_during_and_after_a_tick(app, driver, clock):
    for n in range(7):
        await complete(driver, f"run-{n}", n, f"m-{n % 2}", target=f"task:{n % 3}")
        clock.advance_ms(7 * 60_000)
    await driver.create("pending")
    reports = {by: figures(await report(app, by=by)) for by in WAYS}
    chart = await activity(app, NOON, NOON + DAY, 96)
    assert reports["model"] == ({"m-0": (4, 12), "m-1": (3, 9)}, (7, 21), 8)
    assert chart.total.counts == {"completed": 7, "pending": 1}
    while await driver.store.rollups.add_entries(3):
        assert {by: figures(await report(app, by=by)) for by in WAYS} == reports
        assert await activity(app, NOON, NOON + DAY, 96) == chart
        await sound(driver.store)


async def test_a_tick_takes_no_more_than_it_may(app, driver):
    for n in range(5):
        await complete(driver, f"run-{n}")
    assert [await driver.store.rollups.add_entries(2) for _ in range(4)] == [2, 2, 1, 0]


async def test_targets_of_ended_and_of_new_runs_are_listed_in_order(app, driver):
    for target in ("task:b", "task:a", None):
        await driver.create(f"ended-{target}", target=target)
        await driver.complete(f"ended-{target}")
    await add_all_entries(driver.store)
    await driver.create("active", target="task:c")
    assert await driver.store.rollups.targets(PROJECT, 10) == ["task:a", "task:b"]
    assert await driver.store.rollups.targets(PROJECT, 1) == ["task:a"]
    assert await charts.targets(app, ADMIN, PROJECT) == ["task:a", "task:b", "task:c"]


async def test_usage_outlives_its_run_and_a_chart_does_not(app, driver, clock):
    await complete(driver, "kept", 1)
    await complete(driver, "early", 10)
    await driver.delete("early")  # its end is not added up yet
    await complete(driver, "late", 100)
    await add_all_entries(driver.store)
    await driver.delete("late")
    for _ in range(2):
        assert figures(await report(app)) == ({"m": (3, 111)}, (3, 111), 3)
        assert (await activity(app, NOON, NOON + DAY)).total.counts == {"completed": 1}
        await sound(driver.store)
        await add_all_entries(driver.store)


async def test_a_run_whose_deletion_is_added_before_its_end_takes_nothing_else_along(app, driver, clock):
    for run_id, took in (("kept", 50), ("gone", 70)):
        await add_all_entries(driver.store)
        await driver.create(run_id)
        clock.advance_ms(took)
        await driver.complete(run_id, metadata=used(took))
    await driver.delete("gone")
    while await driver.store.rollups.add_entries(1):
        chart = await activity(app, NOON, NOON + DAY)
        assert (chart.total.counts, chart.total.p50_ms, chart.total.p95_ms) == ({"completed": 1}, 50, 50)
    await sound(driver.store)


async def test_usage_outlives_what_retention_removes(app, driver, clock):
    await complete(driver, "old", 10)
    await add_all_entries(driver.store)
    clock.advance_ms(2 * DAY)
    page = await driver.store.retention.candidates(DAY, 0, 10)
    assert await driver.store.retention.retire(DAY, [(one, None) for one in page.runs]) == 1
    assert figures(await report(app)) == ({"m": (1, 10)}, (1, 10), 1)
    assert (await activity(app, NOON, NOON + DAY)).total.runs == 0
    await add_all_entries(driver.store)
    assert figures(await report(app)) == ({"m": (1, 10)}, (1, 10), 1)
    await sound(driver.store)


@pytest.mark.parametrize("folded", [False, True])
async def test_a_run_that_moves_takes_its_usage_along(app, driver, folded):
    await driver.store.conversations.create(Conversation("c-1", PROJECT, "chat", 1, 1))
    await complete(
        driver, "figures", 10, conversation_id="c-1", message=NewMessage("m-1", "c-1", None), **AGENT
    )
    if folded:
        await add_all_entries(driver.store)
    await driver.store.conversations.change(
        "c-1", lambda old, _now: msgspec.structs.replace(old, project_id=ELSEWHERE)
    )
    for _ in range(2):
        assert figures(await report(app)) == ({}, (0, 0), 0)
        assert figures(await report(app, project=ELSEWHERE)) == ({"m": (1, 10)}, (1, 10), 1)
        await sound(driver.store)
        await add_all_entries(driver.store)


async def test_a_part_of_a_quarter_hour_is_counted_from_the_runs(app, driver, clock):
    for n in range(4):
        await complete(driver, f"run-{n}", 10**n)
        clock.advance_ms(5 * 60_000)
    await add_all_entries(driver.store)
    found = await report(app, NOON + 1, NOON + 15 * 60_000 + 1)
    assert (found.total.tokens.input_tokens, found.runs) == (1110, 3)
    found = await report(app, NOON + 5 * 60_000, NOON + 10 * 60_000)
    assert found.total.tokens.input_tokens == 10


async def test_groups_beyond_the_bound_are_left_out_where_they_have_the_fewest_tokens(
    app, driver, monkeypatch
):
    monkeypatch.setattr(limits, "usage_groups_max", 2)
    for n in range(5):
        await complete(driver, f"run-{n}", n, target=f"task:{n}")
        if n == 2:
            await add_all_entries(driver.store)
    found = await report(app, by="target")
    assert ([one.key for one in found.groups], found.groups_left_out) == (["task:4", "task:3"], 3)
    assert found.total.tokens.input_tokens == 10


async def test_a_family_counts_together_however_its_members_were_added_up(app, driver):
    await driver.create("root")
    await complete(driver, "child", 5, parent="root")
    await add_all_entries(driver.store)
    await driver.complete("root", metadata=used(1))
    assert figures(await report(app, by="family")) == ({"root": (2, 6)}, (2, 6), 2)


async def test_more_families_than_a_report_looks_among_are_refused(app, driver, monkeypatch):
    monkeypatch.setattr(limits, "usage_families_max", 2)
    for n in range(3):
        await complete(driver, f"run-{n}", n)
        assert len((await report(app, by="family")).groups) == n + 1
    await add_all_entries(driver.store)
    with pytest.raises(Error, match="more than 2 families"):
        await report(app, by="family")
    assert len((await report(app, NOON + DAY, by="family")).groups) == 0
    assert figures(await report(app, by="target")) == ({None: (3, 3)}, (3, 3), 3)


async def test_what_deleted_runs_used_belongs_to_no_family(app, driver):
    await complete(driver, "gone", 5)
    await complete(driver, "kept", 1)
    await add_all_entries(driver.store)
    await driver.delete("gone")
    for _ in range(2):
        assert figures(await report(app, by="family")) == ({None: (1, 5), "kept": (1, 1)}, (2, 6), 2)
        await add_all_entries(driver.store)


@pytest.mark.parametrize(
    ("filters", "counts"),
    [
        ({"targets": ("task:a",)}, {"completed": 2, "pending": 1}),
        ({"targets": ("task:a",), "statuses": ("completed", "running")}, {"completed": 2}),
        ({"schedule_id": "nightly"}, {"completed": 1}),
        ({"statuses": ("failed", "pending")}, {"failed": 1, "pending": 1}),
        ({"kinds": ("eval",)}, {"failed": 1}),
        ({"targets": ("task:a", "task:b")}, {"completed": 2, "failed": 1, "pending": 1}),
        ({"text": "one"}, {"completed": 1}),
    ],
)
async def test_filters_of_lists_hold_for_sums_too(app, driver, filters, counts):
    await complete(driver, "one", target="task:a", schedule_id="nightly")
    await complete(driver, "two", target="task:a")
    await driver.create("three", target="task:b", kind="eval")
    await driver.complete("three", "failed")
    await driver.create("four", target="task:a")
    for _ in range(2):
        assert (await activity(app, NOON, NOON + DAY, **filters)).total.counts == counts
        await add_all_entries(driver.store)


async def test_a_check_finds_a_sum_that_is_wrong(app, driver, monkeypatch):
    await complete(driver, "run")
    await driver.store.rollups.add_entries(10)
    await sound(driver.store)
    plain = Additions._use
    monkeypatch.setattr(Additions, "_use", lambda *given: (plain(*given), plain(*given)))
    await complete(driver, "twice")
    await driver.store.rollups.add_entries(10)
    found = [found async for found in check(driver.store)]
    assert {one.rule for one in found} == {"rollups"}
    assert any("usage by model" in one.sentence for one in found)


# -- a store of an older version


async def test_an_old_store_is_summed_a_few_runs_at_a_time_and_readable_meanwhile(
    app, driver, clock, grow_old
):
    for n in range(7):
        await complete(driver, f"run-{n}", 10**n)
        clock.advance_ms(7 * 60_000)
    await driver.create("open")
    await grow_old()
    await driver.complete("open", metadata=used(10**7))
    await complete(driver, "new", 10**8)
    looked = [1]
    while looked[-1]:
        assert figures(await report(app)) == ({"m": (9, 111_111_111)}, (9, 111_111_111), 9)
        assert (await activity(app, NOON, NOON + DAY)).total.counts == {"completed": 9}
        await sound(driver.store)
        looked.append(await driver.store.rollups.catch_up(3))
        if len(looked) == 3:
            await add_all_entries(driver.store)
    assert looked[1:] == [3, 3, 2, 0]
    assert not (await report(app)).truncated


async def test_what_an_old_store_has_not_added_up_yet_is_read_up_to_a_bound(
    app, driver, grow_old, monkeypatch
):
    for n in range(5):
        await complete(driver, f"run-{n}", 10**n)
    await grow_old()
    monkeypatch.setattr(limits, "usage_backlog_max", 2)
    found = await report(app)
    assert (found.truncated, found.total.tokens.input_tokens) == (True, 11_000)
    await driver.store.rollups.catch_up(3)
    found = await report(app)
    assert (found.truncated, found.total.tokens.input_tokens) == (False, 11_111)


@pytest.mark.parametrize("added", [0, 1, 2])
async def test_a_run_of_an_old_store_that_is_deleted_meanwhile_counts_once(app, driver, grow_old, added):
    await complete(driver, "older", 1)
    await complete(driver, "newer", 10)
    await grow_old()
    await driver.store.rollups.catch_up(added) if added else None
    await driver.delete("newer")
    await driver.delete("older")
    for _ in range(3):
        assert figures(await report(app)) == ({"m": (2, 11)}, (2, 11), 2)
        await sound(driver.store)
        await driver.store.rollups.catch_up(1)
        await add_all_entries(driver.store)


# -- hazards


async def test_a_crash_in_a_tick_leaves_all_of_it_or_nothing(app, driver, monkeypatch):
    for n in range(4):
        await complete(driver, f"run-{n}", target=f"task:{n}")
    plain, calls = Additions._count, itertools.count()

    def broken(*given):
        if next(calls) == 2:
            raise RuntimeError("killed")
        plain(*given)

    monkeypatch.setattr(Additions, "_count", broken)
    with pytest.raises(RuntimeError):
        await driver.store.rollups.add_entries(10)
    assert figures(await report(app)) == ({"m": (4, 40)}, (4, 40), 4)
    monkeypatch.undo()
    assert await driver.store.rollups.add_entries(10) == 4
    assert figures(await report(app)) == ({"m": (4, 40)}, (4, 40), 4)
    await sound(driver.store)


async def test_two_leaders_that_tick_at_once_add_each_end_once(app, driver):
    for n in range(20):
        await complete(driver, f"run-{n}")
    while any(await asyncio.gather(*(driver.store.rollups.add_entries(3) for _ in range(4)))):
        pass
    await add_all_entries(driver.store)
    assert figures(await report(app)) == ({"m": (20, 200)}, (20, 200), 20)
    await sound(driver.store)


# -- any order of things
