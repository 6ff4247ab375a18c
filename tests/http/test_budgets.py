"""`/projects/{project}/budgets` and `/runs/{run_id}/budgets`, and runs that budgets stop."""

import pytest

from runstead.commands.budgets import settle_some
from runstead.core import limits

pytestmark = pytest.mark.postgres

UNKNOWN = "11111111-1111-4111-8111-111111111111"
DAY = {"scope": {"kind": "project"}, "period": "day", "limit": {"tokens": 100}, "on_reached": "pause"}


@pytest.fixture
def path(api):
    return f"/projects/{api.project.slug}/budgets"


async def created(api, path, status=201, by="admin", **members):
    made = await api.post(path, DAY | members, status, by=by)
    return made["budget"] if status == 201 else made


async def report(api, tokens=100, status=200, **value):
    """The path of a claimed run whose worker reports tokens, and the answer."""
    run, _ = await api.claimed()
    usage = {"provider": "acme", "model": "m", "inputTokens": tokens, "outputTokens": 0, **value}
    event = {"type": "CUSTOM", "name": "run.usage", "value": usage}
    path, proof = f"/runs/{run['run_id']}", {"X-Lease-Token": run["lease_token"]}
    return path, await api.post(f"{path}/events", {"events": [event]}, status, headers=proof)


async def test_a_budget_is_created_shown_changed_and_deleted(api, path):
    made = await created(api, path, limit={"cost": "2.5"}, alert_at_percent=90)
    assert made["limit"] == {"cost": "2.50", "tokens": None}
    assert made["scope"] == {"kind": "project", "value": None}
    current = made["current"]
    assert (current["spent"], current["percent"], current["reached"]) == (
        {"cost": "0.00", "tokens": 0},
        0,
        False,
    )
    assert current["starts_at"].endswith("T00:00:00.000Z")
    assert (await api.get(f"{path}/{made['id']}", by="admin")) == made
    assert (await api.get(path, by="admin"))["data"] == [made]
    answer = await api.send(
        "PATCH", f"{path}/{made['id']}", {"limit": {"tokens": 7}, "name": "Seven"}, by="admin"
    )
    changed = answer.json()["budget"]
    assert (changed["limit"], changed["name"]) == ({"cost": None, "tokens": 7}, "Seven")
    assert (await api.send("DELETE", f"{path}/{made['id']}", by="admin")).json() == {"deleted": True}
    assert (await api.send("DELETE", f"{path}/{made['id']}", by="admin")).status_code == 404
    assert (await api.get(path, by="admin"))["data"] == []


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"limit": {}}, "$.limit"),
        ({"limit": {"cost": "1,5"}}, "$.limit.cost"),
        ({"limit": {"tokens": 0}}, "$.limit.tokens"),
        ({"scope": {"kind": "target"}}, "$.scope.value"),
        ({"scope": {"kind": "project", "value": "x"}}, "$.scope.value"),
        ({"scope": {"kind": "label", "value": "team"}}, "$.scope.value"),
        ({"scope": {"kind": "run", "value": "x"}}, "$.scope.kind"),
        ({"alert_at_percent": 101}, "$.alert_at_percent"),
        ({"period": "week"}, "$.period"),
    ],
)
async def test_members_that_do_not_fit_are_refused_with_their_path(api, path, members, where):
    refused = await created(api, path, 400, **members)
    assert refused["errors"][0]["path"] == where


async def test_a_project_has_a_bounded_number_of_budgets(api, path, monkeypatch):
    monkeypatch.setattr(limits, "budgets_per_project_max", 1)
    await created(api, path)
    assert (await created(api, path, 409))["code"] == "BUDGET_LIMIT_REACHED"


async def test_a_stopped_run_is_approved_raised_or_ended(api, path):
    made = await created(api, path)
    run, _ = await report(api)
    shown = await api.get(run)
    assert (shown["status"], shown["waiting_reason"]) == ("waiting", "approval")
    assert shown["waiting_tool_call_id"] == f"budget:{made['id']}"
    assert [one["id"] for one in (await api.get(f"{run}/budgets"))["data"]] == [made["id"]]
    raised = {"type": "approval", "result": {"approved": True, "raise_by": {"tokens": 1}}}
    assert (await api.post(f"{run}/resume", raised, 403))["code"] == "FORBIDDEN"
    other = f"/runs/{(await api.create())['run_id']}"
    worker, _ = await api.worker()
    assert (await api.claim(worker))["run"] is None  # it waits before it begins
    assert (await api.post(f"{run}/resume", raised, by="admin")) == {"accepted": True}
    assert (await api.post(f"{run}/resume", raised, 409, by="admin"))["code"] == "TOOL_RESULT_NOT_WAITING"
    assert (await api.get(f"{path}/{made['id']}", by="admin"))["current"]["limit"]["tokens"] == 101
    assert (await api.get(other))["status"] == "waiting"
    await settle_some(api.app)
    taken = [(await api.claim(worker))["run"]["run_id"] for _ in range(2)]
    assert sorted(taken) == sorted(each.rpartition("/")[2] for each in (run, other))
    usage = {"provider": "acme", "model": "m", "inputTokens": 9, "outputTokens": 0}
    await api.complete(other.rpartition("/")[2], metadata=usage)
    last, _ = f"/runs/{(await api.create())['run_id']}", await api.claim(worker)
    refusal = await api.post(f"{last}/resume", {"type": "approval", "result": "maybe"}, 400)
    assert refusal["errors"][0]["path"] == "$.result"
    await api.post(f"{last}/resume", {"type": "approval", "result": False})
    ended = await api.get(last)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "BUDGET_REACHED")
    # Another approval without a call id finds none that is open.
    assert (await api.post(f"{last}/resume", {"type": "approval", "result": True}, 410))[
        "code"
    ] == "RUN_NOT_ACTIVE"


async def test_a_run_is_created_with_a_budget(api, path):
    run = await api.create(api.task(budget={"limit": {"tokens": 5}, "on_reached": "fail"}))
    at = f"/runs/{run['run_id']}"
    [budget] = (await api.get(f"{at}/budgets"))["data"]
    assert (budget["scope"], budget["period"]) == ({"kind": "run", "value": run["run_id"]}, "run_family")
    assert (await api.get(path, by="admin"))["data"] == []
    refused = await api.post("/runs", api.task(budget={"limit": {}}), 400)
    assert refused["errors"][0]["path"] == "$.budget.limit"


@pytest.mark.parametrize("on_reached", ["fail", "cancel", "pause"])
async def test_a_report_that_stops_its_run_counts_the_appended_events_only(api, path, on_reached):
    await created(api, path, limit={"tokens": 5}, on_reached=on_reached)
    at, answer = await report(api, 5)
    stored = 1 if on_reached == "pause" else 2  # with the terminal event
    assert (answer["appended_count"], answer["latest_event_id"]) == (1, stored)
    assert len((await api.get(f"{at}/events"))["data"]) == stored


async def test_the_call_ids_of_budgets_belong_to_the_server(api):
    run = f"/runs/{(await api.create())['run_id']}"
    refused = await api.post(f"{run}/wait", {"reason": "approval", "tool_call_id": "budget:x"}, 400)
    assert refused["errors"][0]["path"] == "$.tool_call_id"


async def test_usage_that_cannot_be_counted_is_refused(api):
    _, refused = await report(api, status=400, outputTokens="many")
    assert refused["errors"][0]["path"] == "$.events[0].value.outputTokens"


async def test_what_a_run_has_spent_is_bounded_too_and_never_fails_a_report(api, path):
    most = {"provider": "acme", "model": "m", "input": limits.price_max, "output": limits.price_max}
    await api.send("PUT", f"/projects/{api.project.slug}/prices", most, by="admin")
    made = await created(api, path, on_reached="alert", limit={"cost": "1.00"})
    run, _ = await api.claimed()
    tokens = {"inputTokens": limits.tokens_per_run_max, "outputTokens": limits.tokens_per_run_max}
    usage = {"type": "CUSTOM", "name": "run.usage", "value": {"provider": "acme", "model": "m", **tokens}}
    proof = {"X-Lease-Token": run["lease_token"]}
    for _ in range(5):  # 2 million millions each: the fifth is over what a column of 64 bits holds
        await api.post(f"/runs/{run['run_id']}/events", {"events": [usage]}, headers=proof)
    current = (await api.get(f"{path}/{made['id']}", by="admin"))["current"]
    assert current["spent"]["cost"] == "1000000000000.00"


async def test_only_admins_change_budgets(api, path):
    made = await created(api, path)
    assert (await created(api, path, 403, by="default"))["code"] == "FORBIDDEN"
    assert (await api.get(f"{path}/{made['id']}"))["id"] == made["id"]
    await api.refused(404, "NOT_FOUND", "GET", f"{path}/{UNKNOWN}")
