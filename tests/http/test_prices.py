"""Prices and usage of a project over HTTP."""

import pytest

from runstead.core import limits

pytestmark = pytest.mark.postgres

PRICE = {"provider": "acme", "model": "m/1", "input": 2_000_000, "output": 10_000_000}
PATH = "/projects/inventory/prices"


async def put(api, **members):
    response = await api.send("PUT", PATH, PRICE | members, by="admin")
    assert response.status_code == 200, response.text
    return response.json()["price"]


@pytest.fixture
async def used(api):
    run = await api.create()
    metadata = {"provider": "acme", "model": "m/1", "inputTokens": 100, "outputTokens": 10}
    await api.post(f"/runs/{run['run_id']}/complete", {"status": "completed", "metadata": metadata})
    return run


async def test_a_price_is_set_shown_changed_and_deleted(api):
    made = await put(api)
    assert made == {**PRICE, "cached": None, "reasoning": None, "updated_at": made["updated_at"]}
    assert (await api.get(PATH, by="read"))["data"] == [made]
    changed = await put(api, cached=5)
    assert (await api.get(PATH))["data"] == [changed]
    gone = await api.send("DELETE", f"{PATH}?provider=acme&model=m%2F1", by="admin")
    assert gone.json() == {"deleted": True, "provider": "acme", "model": "m/1"}
    await api.refused(404, "NOT_FOUND", "DELETE", f"{PATH}?provider=acme&model=m%2F1", by="admin")
    assert (await api.get(PATH))["data"] == []


async def test_only_admins_change_prices(api):
    await api.refused(403, "FORBIDDEN", "PUT", PATH, PRICE)
    await api.refused(403, "FORBIDDEN", "DELETE", f"{PATH}?provider=acme&model=m", by="write")
    assert (await api.get(PATH))["data"] == []


@pytest.mark.parametrize(
    "wrong",
    [{"input": -1}, {"output": None}, {"input": 1.5}, {"cached": limits.price_max + 1}, {"model": ""}],
    ids=str,
)
async def test_a_malformed_price_is_refused(api, wrong):
    problem = await api.refused(400, "INVALID_REQUEST", "PUT", PATH, PRICE | wrong, by="admin")
    assert problem["errors"][0]["path"] == f"$.{next(iter(wrong))}"


async def test_a_project_has_a_limit_of_prices(api, monkeypatch):
    monkeypatch.setattr(limits, "prices_per_project_max", 1)
    await put(api)
    await api.refused(409, "PRICE_LIMIT_REACHED", "PUT", PATH, PRICE | {"model": "n"}, by="admin")


async def test_a_projects_usage_and_its_cost(api, used):
    await put(api)
    found = await api.get("/projects/inventory/usage?by=target&since=2026-01-01T00:00:00Z", by="read")
    (group,) = found["groups"]
    assert (group["key"], group["runs"], group["total_tokens"]) == (used["target"], 1, 110)
    assert (group["cost_micros"], group["unpriced_runs"]) == (300, 0)
    assert group["models"][0]["model"] == "m/1"
    assert found["total"] == {**group, "key": None}
    assert (found["by"], found["runs_looked_at"], found["truncated"]) == ("target", 1, False)


async def test_usage_without_a_price_is_counted(api, used):
    found = await api.get("/projects/inventory/usage?since=2026-01-01T00:00:00Z")
    assert (found["total"]["cost_micros"], found["total"]["unpriced_runs"]) == (0, 1)
    assert found["groups"][0]["models"][0]["cost_micros"] is None


@pytest.mark.parametrize(
    "query", ["by=colour", "since=yesterday", "since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z"]
)
async def test_an_invalid_report_is_refused(api, query):
    await api.refused(400, "INVALID_REQUEST", "GET", f"/projects/inventory/usage?{query}")
