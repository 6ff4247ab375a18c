"""The faults that are injected under load. When a fault returns, it is over and the deployment works again.

A fault gets the deployment, the load, and its duration in seconds, if it has one. The checker verifies the
general guarantees; a fault asserts only what it puts at risk itself.
"""

import threading
import time
from collections.abc import Callable

import httpx2

from tests.support.server import Server, note
from tests.support.until import until

from .client import LEASE_S
from .deployment import Deployment
from .load import Load

Fault = Callable[[Deployment, Load, float], None]

#: The number of answered operations before and after a fault.
SPELL = 150
REPLACED_S = 10


def kill_replica(deployment: Deployment, load: Load, seconds: float) -> None:
    """Kill a replica that does not lead (SIGKILL)."""
    killed = next(each for each in deployment.replicas if each is not deployment.leader())
    killed.kill()
    load.pass_by(SPELL)
    killed.start()


def kill_leader(deployment: Deployment, load: Load, seconds: float) -> None:
    """Kill the leader (SIGKILL). Another replica leads within ten seconds."""
    killed = deployment.leader()
    killed.kill()
    until(lambda: deployment.leading() not in (None, killed), "another leader", REPLACED_S)
    load.pass_by(SPELL)
    killed.start()


def kill_database(deployment: Deployment, load: Load, seconds: float) -> None:
    """Kill PostgreSQL (SIGKILL) and start it. No replica is restarted."""
    deployment.kill_database()
    deployment.ready()


def break_sessions(deployment: Deployment, load: Load, seconds: float) -> None:
    """Let the database end every session, three times."""
    for _ in range(3):
        assert deployment.break_sessions() > 0
        load.pass_by(SPELL // 3)


def sever_connections(deployment: Deployment, load: Load, seconds: float) -> None:
    """Break the network between a replica and the database: reset connections, and then block all traffic for a while."""
    proxy = deployment.proxy
    for _ in range(4):
        proxy.sever()
        load.pass_by(SPELL // 4)
    proxy.hold()
    load.pass_by(SPELL)
    proxy.sever()
    assert proxy.severed > 0


def pause_leader(deployment: Deployment, load: Load, seconds: float) -> None:
    """Stop the leader (SIGSTOP) with requests under way, until another replica leads and another worker has
    the lease. When it continues, it no longer leads, and the late requests are refused.
    """
    stopped = deployment.leader()
    other = next(each for each in deployment.replicas if each is not stopped)
    target = f"task:{load.name}-paused"
    with stopped.api(timeout_s=seconds + 60) as asleep, other.api() as awake:
        run_id = asleep.create(asleep.project_id(), target)["run_id"]
        asleep.claim(asleep.register("asleep"), target, lease_s=LEASE_S)
        term = awake.get("/readyz")["term"]
        answers: list[httpx2.Response] = []
        began = time.monotonic()
        deployment.pause(stopped)
        try:
            # The requests wait in two connections until the replica continues.
            late = [
                threading.Thread(
                    target=lambda path=path, body=body: answers.append(asleep.http.post(path, json=body))
                )
                for path, body in (
                    (f"/runs/{run_id}/events", {"events": [note("late")], "attempt": 1}),
                    (f"/runs/{run_id}/complete", {"status": "completed", "attempt": 1}),
                )
            ]
            for each in late:
                each.start()
            until(lambda: deployment.leading(besides=stopped) is not None, "another leader", REPLACED_S)
            second = awake.register("awake")
            until(lambda: awake.claim(second, target, lease_s=60), "another attempt", LEASE_S + 15)
            load.pass_by(SPELL)
            while time.monotonic() - began < seconds:
                load.pass_by(10)
        finally:
            deployment.wake(stopped)
        for each in late:
            each.join(90)
        assert [(each.status_code, each.json()["code"]) for each in answers] == [
            (409, "ATTEMPT_SUPERSEDED")
        ] * 2
        until(lambda: asleep.get("/readyz")["term"] > term, "it to learn of the other leader")
        assert deployment.leading() is not stopped
        assert "this replica has lost the lead" in stopped.log
        assert awake.complete(run_id, attempt=2)["run"]["latest_event_id"] == 1
        assert [each["outcome"] for each in awake.attempts(run_id)] == ["lease_expired", "completed"]


def lead_with_a_wrong_clock(deployment: Deployment, load: Load, seconds: float) -> None:
    """Let the replica whose clock is ten minutes fast lead, so that it enforces leases."""
    fast = deployment.replicas[2]
    others = [each for each in deployment.replicas if each is not fast]
    while (leader := deployment.leader()) is not fast:
        leader.terminate()
    for each in others:
        if each.process.poll() is not None:
            each.start()
    _leases_last(others[0], fast, load.name)
    assert deployment.leader() is fast
    load.pass_by(SPELL)


def _leases_last(here: Server, fast: Server, name: str) -> None:
    """Assert that leases last as long as requested, on each replica, although the fast replica enforces them."""
    with here.api() as api, fast.api() as other:
        leased = []
        for number, replica in enumerate((api, other)):
            target = f"task:{name}-lasting-{number}"
            run_id = replica.create(replica.project_id(), target)["run_id"]
            worker, began = replica.register("lasting"), time.monotonic()
            assert replica.claim(worker, target, lease_s=LEASE_S)["run_id"] == run_id
            leased.append((run_id, began))
        for run_id, began in leased:
            until(lambda run_id=run_id: api.run(run_id)["status"] == "pending", "its end", LEASE_S + 5)
            assert time.monotonic() - began >= LEASE_S


FAULTS = (
    kill_replica,
    break_sessions,
    kill_leader,
    sever_connections,
    kill_database,
    lead_with_a_wrong_clock,
    pause_leader,
)
