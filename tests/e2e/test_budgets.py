"""SIGKILL between a report of usage and what it causes: they are one transaction, and what follows is repeated."""

import threading
from contextlib import suppress

import httpx2
import pytest

from runstead.sdk import Client, Retries, RunsteadError
from tests.support.server import PROJECT, SHORT_LEASE
from tests.support.until import until

LIMIT, RUNS, KILLS = 8, 24, 2
USAGE = {"provider": "acme", "model": "m", "inputTokens": 1, "outputTokens": 0}


class Reporters:
    """Threads that report one token at a time for their runs, until the server dies or all runs are stopped."""

    def __init__(self, server, leased):
        self.server, self.acknowledged = server, 0
        self._threads = [threading.Thread(target=self._report, args=(leased[n::4],)) for n in range(4)]
        for thread in self._threads:
            thread.start()

    def _report(self, leased):
        event = {"type": "CUSTOM", "name": "run.usage", "value": USAGE}
        with Client(self.server.url, self.server.key, project=PROJECT, retries=Retries(0)) as client:
            try:
                for _ in range(LIMIT + 1):
                    for run_id, token in leased:
                        with suppress(RunsteadError):  # the run was stopped
                            client.events.append(run_id, [event], lease_token=token)
                            self.acknowledged += 1
            except (httpx2.HTTPError, OSError):
                return

    def join(self):
        for thread in self._threads:
            thread.join()


def check(client, run_ids):
    """Return how many runs are stopped. What is stored agrees for each run, and in the sum of the project."""
    total = stopped = 0
    for run_id in run_ids:
        run = client.runs.get(run_id)
        reported = sum(event.payload.get("name") == "run.usage" for event in client.events.iter(run_id))
        budgets = {one.scope.kind: one.current.spent.tokens for one in client.budgets.of_run(run_id).data}
        assert budgets["run"] == reported <= LIMIT
        assert (run.status == "waiting") == (reported == LIMIT), run
        total += reported
        stopped += run.status == "waiting"
    assert budgets["project"] == total
    return stopped


@pytest.mark.timeout(100)
def test_a_killed_server_neither_loses_usage_nor_lets_a_run_pass_its_limit(new_server):
    server = new_server(limits=SHORT_LEASE).start()

    def client():
        return Client(server.url, server.key, project=PROJECT)

    with client() as first:
        budget = first.budgets.create("project", period="month", tokens=10**6, on_reached="pause").budget
        limit = {"limit": {"tokens": LIMIT}}
        run_ids = [first.runs.create("task:spend", budget=limit).run.run_id for _ in range(RUNS)]
        worker = first.workers.register("py", "w").worker.id
        claimed = first.workers.claim(worker, 300, targets=["task:spend"], max_runs=RUNS).runs
    leased = [(run.run_id, run.lease_token) for run in claimed]
    for kill in range(KILLS):
        reporters = Reporters(server, leased)
        enough = RUNS * LIMIT // (KILLS + 1) // (kill + 1)
        until(lambda: reporters.acknowledged >= enough, "reports")  # noqa: B023
        server.kill()
        reporters.join()
        server.start()
        with client() as again:
            check(again, run_ids)
    Reporters(server, leased).join()
    with client() as last:
        assert check(last, run_ids) == RUNS
        # A budget that was lowered and raised again: the server is killed before its loop may have looked.
        last.budgets.update(budget.id, tokens=1)
        waiting = last.runs.create("task:late").run.run_id
        assert last.workers.claim(worker, 300, targets=["task:late"]).run is None
        last.budgets.update(budget.id, tokens=10**6)
    server.kill()
    server.start()
    with client() as after:
        until(lambda: after.runs.get(waiting).status == "running", "the run to continue")
        assert after.workers.claim(worker, 300, targets=["task:late"]).run.run_id == waiting
