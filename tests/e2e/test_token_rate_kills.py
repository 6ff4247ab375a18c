"""SIGKILL between a report of usage and the next claim: the report and what it takes from the rate are one transaction."""

from runstead.sdk import Client
from tests.support.server import PROJECT
from tests.support.until import until

from .test_budgets import Reporters

RUNS, KILLS = 12, 2
RATE = {"limit": 1, "period_seconds": 86_400, "unit": "tokens"}  # nothing is refilled while the test runs


def test_a_killed_server_neither_loses_the_tokens_that_were_used_nor_takes_them_twice(new_server):
    server = new_server().start()

    def client():
        return Client(server.url, server.key, project=PROJECT)

    with client() as first:
        first.limits.set("task:spend", rate=RATE)
        for _ in range(RUNS + 1):
            first.runs.create("task:spend")
        worker = first.workers.register("py", "w").worker.id
        claimed = [first.workers.claim(worker, 300, targets=["task:spend"]).run for _ in range(RUNS)]
    leased = [(run.run_id, run.lease_token) for run in claimed]
    for _ in range(KILLS):
        reporters = Reporters(server, leased)
        until(lambda: reporters.acknowledged >= 20, "reports")  # noqa: B023
        server.kill()
        reporters.join()
        server.start()
        with client() as after:
            logs = [after.events.iter(run_id) for run_id, _ in leased]
            reported = sum(event.payload.get("name") == "run.usage" for log in logs for event in log)
            [limit] = after.limits.get().limits
            assert RATE["limit"] - limit.rate_left == reported >= reporters.acknowledged
            assert after.workers.claim(worker, 300, targets=["task:spend"]).run is None
