"""What a project used and what it cost, over every store."""

import msgspec
import pytest

from runstead.commands import prices, usage_report
from runstead.commands.app import App
from runstead.core.errors import Error
from runstead.core.identity.principal import ALL_SCOPES, Principal, Scope
from runstead.core.identity.project import Project
from runstead.engines.notifiers.local import LocalNotifier

PROJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "99999999-9999-4999-8999-999999999999"
ADMIN = Principal("api_key", "k", {PROJECT: ALL_SCOPES})
DAY = 86_400_000


async def ended(driver, run_id, parent=None, *, given=None, **metadata):
    await driver.create(run_id, parent=parent, **(given or {}))
    told = msgspec.json.encode(metadata) if metadata else None
    return (await driver.complete(run_id, metadata=told)).run


@pytest.fixture
async def used(driver, clock):
    """root ─ child yesterday; today one of a schedule, one without metadata, and one that has not ended."""
    await driver.create("root", target="agent:writer", created_by="key-1")
    model = {"provider": "acme", "model": "m"}
    child = {"target": "task:a", "created_by": "key-2"}
    await ended(driver, "child", "root", given=child, **model, inputTokens=100, outputTokens=10)
    await driver.complete(
        "root", metadata=msgspec.json.encode(model | {"inputTokens": 50, "outputTokens": 5})
    )
    clock.advance_ms(DAY)
    timed = {"target": "task:a", "schedule_id": "nightly"}
    await ended(driver, "timed", given=timed, provider="acme", model="n", inputTokens=7, cachedInputTokens=3)
    await ended(driver, "silent")
    await driver.create("pending")
    await driver.create("elsewhere", project_id=ELSEWHERE)
    return driver


@pytest.fixture
async def app(store):
    await store.identity.create_project(Project(PROJECT, "inventory", "Inventory", 1), None, None)
    return App(store, LocalNotifier())


async def told(app, clock, by, principal=ADMIN, since=0):
    return await usage_report.report(app, principal, PROJECT, since, clock.now + 1, by)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("model", {"m": (2, 165), "n": (1, 7)}),
        ("target", {"task:a": (2, 117), "agent:writer": (1, 55)}),
        ("schedule", {None: (2, 165), "nightly": (1, 7)}),
        ("key", {"key-2": (1, 110), "key-1": (1, 55), None: (1, 7)}),
        ("day", {"2026-03-21": (1, 7), "2026-03-20": (2, 165)}),
        ("family", {"root": (2, 165), "timed": (1, 7)}),
    ],
)
async def test_usage_is_told_in_groups(app, used, clock, by, groups):
    found = await told(app, clock, by)
    assert [(one.key, (one.runs, one.tokens.total)) for one in found.groups] == list(groups.items())
    assert (found.total.runs, found.total.tokens.total) == (3, 172)
    assert (found.runs, found.truncated) == (5, False)


async def test_what_was_used_costs_what_the_projects_prices_say(app, used, clock):
    await prices.put(app, ADMIN, PROJECT, "acme", "m", input=2_000_000, output=10_000_000)
    found = await told(app, clock, "family")
    assert [(one.key, one.cost_micros, one.unpriced_runs) for one in found.groups] == [
        ("root", 450, 0),
        ("timed", 0, 1),
    ]
    await prices.put(app, ADMIN, PROJECT, "acme", "*", input=1_000_000, output=0, cached=0)
    again = (await told(app, clock, "model")).total
    assert (again.cost_micros, again.unpriced_runs) == (454, 0)
    assert [(line.model, line.cost_micros) for line in again.lines] == [("m", 450), ("n", 4)]


async def test_a_stretch_begins_with_its_first_moment_and_ends_before_its_last(app, used, clock):
    at = (await used.row("timed")).created_at
    for since, until, runs in ((at, at + 1, 3), (at + 1, at + 2, 0), (0, at, 2), (0, at + 1, 5)):
        found = await usage_report.report(app, ADMIN, PROJECT, since, until, "model")
        assert found.runs == runs


async def test_usage_is_for_those_who_read_the_projects_runs(app, used, clock):
    worker = Principal("worker", "w", {PROJECT: frozenset({Scope.WORKERS})})
    stranger = Principal("user", "eve", {ELSEWHERE: ALL_SCOPES})
    for principal, code in ((worker, "FORBIDDEN"), (stranger, "NOT_FOUND")):
        with pytest.raises(Error) as caught:
            await told(app, clock, "model", principal)
        assert caught.value.code == code


@pytest.mark.parametrize(("since", "by"), [(0, "colour"), (10**15, "model"), (-1, "model")])
async def test_a_report_that_cannot_be_is_refused(app, clock, since, by):
    with pytest.raises(Error) as caught:
        await told(app, clock, by, since=since)
    assert caught.value.code == "INVALID_REQUEST"
