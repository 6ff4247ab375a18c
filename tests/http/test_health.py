"""`/healthz`, `/readyz` and `/metrics`, which need no credential."""

import re

import pytest

from runstead.core.errors import Error
from runstead.core.leadership import LeaderState

pytestmark = pytest.mark.postgres


async def test_a_process_that_answers_is_healthy(api):
    assert await api.get("/healthz", by=None) == {"status": "ok"}


async def test_a_store_that_commits_is_ready(api):
    answer = await api.get("/readyz", by=None)
    assert answer["status"] == "ready"
    assert answer["store"]["engine"] in {"memory", "sqlite", "postgres"}
    assert answer["store"]["commits"] >= 1


async def test_a_server_that_stops_is_not_ready_but_healthy(api):
    api.app.stopping.set()
    response = await api.send("GET", "/readyz", by=None)
    api.problem(response, 503, "SHUTTING_DOWN")
    assert response.headers["retry-after"] == "1"
    assert await api.get("/healthz", by=None) == {"status": "ok"}


async def test_a_store_that_cannot_commit_is_not_ready(driver):
    async def full():
        raise Error("STORE_UNAVAILABLE", "The disk is full", retry_after_s=5)

    driver.store.check = full
    response = await driver.send("GET", "/readyz", by=None)
    assert driver.problem(response, 503, "STORE_UNAVAILABLE")["detail"] == "The disk is full"
    assert response.headers["retry-after"] == "5"


async def test_metrics_count_requests_by_route_and_not_by_path(api):
    async def count(method="GET", status=200, route="/runs/{run_id}"):
        response = await api.send("GET", "/metrics", by=None)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        pattern = rf'requests_total{{method="{method}",route="{re.escape(route)}",status="{status}"}} (\S+)'
        found = re.search(pattern, response.text)
        return 0 if found is None else float(found[1])

    before = await count(), await count(status=404)
    for _ in range(3):
        await api.run((await api.create())["run_id"])
    await api.refused(404, "NOT_FOUND", "GET", "/runs/unknown")
    assert (await count(), await count(status=404)) == (before[0] + 3, before[1] + 1)
    unknown = await count(status=404, route="unknown")
    await api.refused(404, "NOT_FOUND", "GET", "/nowhere")
    assert await count(status=404, route="unknown") == unknown + 1


async def test_metrics_include_the_store(api):
    text = (await api.send("GET", "/metrics", by=None)).text
    for name in ("runstead_streams", "runstead_store_queue_depth", "runstead_store_commits_total"):
        assert f"\n{name} " in text


async def test_readiness_shows_whether_the_replica_leads(driver):
    async def leadership():
        ready = await driver.get("/readyz", by=None)
        lines = (await driver.send("GET", "/metrics", by=None)).text.splitlines()
        metrics = [
            float(line.split()[1])
            for line in lines
            if line.startswith(("runstead_leader ", "runstead_leader_term "))
        ]
        return ready["leader"], ready["term"], metrics

    assert await leadership() == (False, 0, [0, 0])
    now = 0.0
    driver.app.leader_state = LeaderState(lambda: now)
    driver.app.leader_state.hold(7, until=5.5)
    assert await leadership() == (True, 7, [1, 7])
    now = 5.5
    assert await leadership() == (False, 7, [0, 7])
