"""What charts read and show, over every store."""

import pytest

from runstead.commands import charts
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import Principal, Scope
from runstead.core.identity.project import Project
from runstead.core.runs.run import RunStatus
from runstead.core.usage.activity import RunSummary
from runstead.engines.notifiers.local import LocalNotifier
from runstead.ports.store import RunQuery

PROJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "99999999-9999-4999-8999-999999999999"
READER = Principal("user", "ada", {PROJECT: frozenset({Scope.RUNS_READ})})
MINUTE = 60_000


@pytest.fixture
def app(store):
    return App(store, LocalNotifier())


@pytest.fixture
async def busy(driver, clock):
    """Four runs of the project, a minute apart: completed after 10 ms, failed, completed after 30 ms, pending."""
    for run_id, status, took in (("a", "completed", 10), ("b", "failed", 20), ("c", "completed", 30)):
        await driver.create(run_id, target=f"task:{run_id}", labels=b'{"team":"x"}')
        await driver.claim(limit=1)
        clock.advance_ms(took)
        await driver.complete(run_id, status)
        clock.advance_ms(MINUTE - took)
    await driver.create("d", target="task:a")
    await driver.create("elsewhere", project_id=ELSEWHERE)
    return driver


async def test_summaries_are_those_of_the_page_in_its_order(busy):
    queries = (
        RunQuery((PROJECT,)),
        RunQuery((PROJECT, ELSEWHERE), limit=2),
        RunQuery((PROJECT,), statuses=("completed",), sort="duration"),
        RunQuery((PROJECT,), statuses=("failed", "pending"), before=(None, 4)),
        RunQuery((PROJECT,), labels=(("team", "x"),), text="B"),
        RunQuery((PROJECT,), root_only=True, targets=("task:a",), kinds=("task",)),
        RunQuery(()),
    )
    for query in queries:
        page = (await busy.runs.page(query)).rows
        expected = [
            RunSummary(run.seq, run.status, run.created_at, run.completed_at, run.duration_ms) for run in page
        ]
        found = await busy.runs.summaries(query)
        assert found == expected
        assert all(isinstance(one.status, RunStatus) for one in found)
    assert [one.duration_ms for one in await busy.runs.summaries(queries[2])] == [30, 10]


async def activity(app, clock, *, buckets=4, project=PROJECT, principal=READER, **filters):
    until = clock.now + MINUTE
    return await charts.activity(
        app, principal, project, RunQuery((), **filters), until - 4 * MINUTE, until, buckets
    )


@pytest.fixture
async def furnished(store, busy):
    await store.identity.create_project(Project(PROJECT, "inventory", "Inventory", 1), None, None)
    return busy


async def test_runs_are_counted_by_time_and_outcome(app, clock, furnished):
    chart = await activity(app, clock)
    assert [bucket.counts for bucket in chart.buckets] == [
        {"completed": 1},
        {"failed": 1},
        {"completed": 1},
        {"pending": 1},
    ]
    assert [bucket.p50_ms for bucket in chart.buckets] == [10, None, 30, None]
    assert (chart.total.p50_ms, chart.total.p95_ms, chart.width_ms) == (10, 30, MINUTE)


async def test_the_filters_of_lists_hold_for_charts(app, clock, furnished):
    chart = await activity(app, clock, buckets=1, targets=("task:a",))
    assert chart.total.counts == {"completed": 1, "pending": 1}
    assert (await activity(app, clock, statuses=("failed",))).total.counts == {"failed": 1}
    assert (await activity(app, clock, project=None)).total.runs == 4


async def test_the_chart_of_a_project_is_for_those_who_read_its_runs(app, clock, furnished):
    stranger = Principal("user", "eve", {ELSEWHERE: frozenset({Scope.RUNS_READ})})
    worker = Principal("worker", "w", {PROJECT: frozenset({Scope.WORKERS})})
    for principal, code in ((stranger, "NOT_FOUND"), (worker, "FORBIDDEN")):
        with pytest.raises(Error) as caught:
            await activity(app, clock, principal=principal)
        assert caught.value.code == code
    assert (await activity(app, clock, project=None, principal=stranger)).total.runs == 1


@pytest.mark.parametrize(
    ("since", "until", "buckets"), [(5, 5, 1), (6, 5, 1), (-1, 5, 1), (1, 5, 0), (1, 5, 501)]
)
async def test_a_chart_that_cannot_be_is_refused(app, furnished, since, until, buckets):
    with pytest.raises(Error) as caught:
        await charts.activity(app, READER, PROJECT, RunQuery(()), since, until, buckets)
    assert caught.value.code == "INVALID_REQUEST"


SPAN = 4 * MINUTE


@pytest.mark.parametrize("filters", [{"labels": (("team", "x"),)}, {"text": "task:"}])
async def test_a_chart_without_sums_counts_the_newest_runs_and_shows_since_when(
    app, clock, furnished, monkeypatch, filters
):
    whole = await activity(app, clock, **filters)
    assert (whole.total.counts["completed"], whole.counted_since) == (2, None)
    monkeypatch.setattr(limits, "chart_runs_max", whole.total.runs)
    assert await activity(app, clock, **filters) == whole
    monkeypatch.setattr(limits, "chart_runs_max", whole.total.runs - 1)
    part = await activity(app, clock, **filters)
    assert part.total.runs == whole.total.runs - 1
    assert part.buckets[1:] == whole.buckets[1:]
    assert part.buckets[0].runs == 0
    assert part.counted_since == clock.now + MINUTE - SPAN + MINUTE


async def test_no_more_runs_are_read_than_a_chart_counts(app, clock, furnished, monkeypatch):
    asked = []
    plain = app.store.runs.summaries

    async def summaries(query):
        asked.append(query.limit)
        return await plain(query)

    monkeypatch.setattr(app.store.runs, "summaries", summaries)
    await activity(app, clock, labels=(("team", "x"),))
    assert max(asked) == limits.chart_runs_max + 1


async def test_a_chart_that_sums_know_counts_every_run(app, clock, furnished, monkeypatch):
    monkeypatch.setattr(limits, "chart_runs_max", 1)
    for filters in ({}, {"targets": ("task:a",)}, {"statuses": ("completed", "failed", "pending")}):
        found = await activity(app, clock, **filters)
        assert found.total.runs > 1
        assert found.counted_since is None
