"""Lists of a stretch of time, over every store: what lies in it is found wherever it is."""

import pytest
from msgspec.structs import replace

from runstead.commands import seq_bounds
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.identity.principal import Principal, Scope
from runstead.core.identity.project import Project
from runstead.engines.notifiers.local import LocalNotifier
from runstead.ports.store import RunQuery

PROJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "99999999-9999-4999-8999-999999999999"
READER = Principal("user", "ada", {PROJECT: frozenset({Scope.RUNS_READ})})
STEP = 60_000
COUNT = 30


@pytest.fixture
def app(store):
    return App(store, LocalNotifier())


@pytest.fixture
async def long_list(driver, store, clock, monkeypatch):
    """Runs of the project and, among them, of another one, each a minute after the one before; their times."""
    monkeypatch.setattr(limits, "order_near", 2)
    monkeypatch.setattr(limits, "order_slack_ms", 0)
    for project_id, slug in ((PROJECT, "mine"), (ELSEWHERE, "elsewhere")):
        await store.identity.create_project(Project(project_id, slug, slug, 1), None, None)
    made = []
    for n in range(COUNT):
        made.append((await driver.create(f"run-{n}", project_id=PROJECT)).created_at)
        for m in range(n % 3):
            await driver.create(f"other-{n}-{m}", project_id=ELSEWHERE)
        clock.advance_ms(STEP)
    return made


async def found(app, **times):
    query = await seq_bounds.with_seq_bounds(app, READER, PROJECT, RunQuery((), limit=100, **times))
    bounds = query.seq_over, query.seq_under
    exact = (await app.store.runs.page(replace(query, seq_over=None, seq_under=None))).rows
    assert (await app.store.runs.page(query)).rows == exact
    return [run.run_id for run in exact], bounds


@pytest.mark.parametrize("first", [0, 1, 13, COUNT - 1])
@pytest.mark.parametrize("count", [1, 2, 11])
async def test_a_stretch_holds_all_that_was_created_in_it(app, long_list, first, count):
    since = long_list[first] - 1
    ids, bounds = await found(app, created_after=since, created_before=since + count * STEP)
    last = min(COUNT, first + count)
    assert ids == [f"run-{n}" for n in reversed(range(first, last))]
    assert bounds[0] is not None


async def test_the_bounds_leave_out_what_lies_elsewhere(app, long_list):
    _, (over, under) = await found(app, created_after=long_list[10], created_before=long_list[20])
    everything = (await app.store.runs.page(RunQuery((PROJECT,), limit=100))).rows
    inside = [run for run in everything if over < run.seq < under]
    assert len(inside) <= 10 + 4


async def test_an_open_end_has_no_bound(app, long_list):
    _, (over, under) = await found(app, created_after=long_list[20])
    assert over is not None
    assert under is None
    _, (over, under) = await found(app, created_before=long_list[-1] + STEP)
    assert (over, under) == (None, None)


async def test_an_empty_project_has_no_bounds(app, store):
    await store.identity.create_project(Project(PROJECT, "mine", "Mine", 1), None, None)
    assert await found(app, created_after=5, created_before=10) == ([], (None, None))


async def test_runs_stored_out_of_order_are_found_within_the_slack(
    app, driver, long_list, clock, monkeypatch
):
    """A replica's commit may come later than that of another one whose clock it has read before."""
    monkeypatch.setattr(limits, "order_slack_ms", 3 * STEP)
    ids, (over, under) = await found(app, created_after=long_list[10], created_before=long_list[12])
    everything = {
        run.run_id: run.seq for run in (await app.store.runs.page(RunQuery((PROJECT,), limit=100))).rows
    }
    assert ids == ["run-11"]
    assert over < everything["run-8"]
    assert under > everything["run-14"]
