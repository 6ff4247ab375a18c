"""What goes wrong under load: each fault is over, and mended, when it returns.

A fault takes the deployment, the load, and how long it lasts where it has a length. What must hold in any case is left to
the checker; what only this fault puts at risk is asserted here.
"""

import threading
import time
from collections.abc import Callable

import httpx2

from tests.support.server import Server, note
from tests.support.until import until

from .deployment import Deployment
from .load import LEASE_S, Load

Fault = Callable[[Deployment, Load, float], None]

#: Operations that clients get through before a fault, and after it.
SPELL = 150
REPLACED_S = 10


def kill_replica(deployment: Deployment, load: Load, seconds: float) -> None:
    """SIGKILL of one that does not lead."""
    doomed = next(each for each in deployment.replicas if each is not deployment.leader())
    doomed.kill()
    load.pass_by(SPELL)
    doomed.start()


def kill_leader(deployment: Deployment, load: Load, seconds: float) -> None:
    """SIGKILL of the one that leads. Another does within ten seconds."""
    doomed = deployment.leader()
    doomed.kill()
    until(lambda: deployment.leading() not in (None, doomed), "another leader", REPLACED_S)
    load.pass_by(SPELL)
    doomed.start()


def kill_database(deployment: Deployment, load: Load, seconds: float) -> None:
    """SIGKILL of PostgreSQL, and a start. No replica is restarted."""
    deployment.kill_database()
    deployment.ready()


def break_sessions(deployment: Deployment, load: Load, seconds: float) -> None:
    """The database ends every session, again and again."""
    for _ in range(3):
        assert deployment.break_sessions() > 0
        load.pass_by(SPELL // 3)


def sever_connections(deployment: Deployment, load: Load, seconds: float) -> None:
    """The network between one replica and the database: connections are reset, and once nothing passes for a while."""
    proxy = deployment.proxy
    for _ in range(4):
        proxy.sever()
        load.pass_by(SPELL // 4)
    proxy.hold()
    load.pass_by(SPELL)
    proxy.sever()
    assert proxy.severed > 0


def pause_leader(deployment: Deployment, load: Load, seconds: float) -> None:
    """SIGSTOP of the one that leads, with a request on its way, for so long that another leads and the lease is another's.
    When it wakes up, it leads no more, and the late request is refused.
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
            # Two connections that it has accepted, or will: the requests wait in them until it wakes up.
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
            heir = awake.register("awake")
            until(lambda: awake.claim(heir, target, lease_s=60), "another attempt", LEASE_S + 15)
            load.pass_by(SPELL)
            while time.monotonic() - began < seconds:
                load.pass_by(10)
        finally:
            deployment.wake(stopped)
        for each in late:
            each.join(30)
        assert [(each.status_code, each.json()["code"]) for each in answers] == [
            (409, "ATTEMPT_SUPERSEDED")
        ] * 2
        until(lambda: asleep.get("/readyz")["term"] > term, "it to hear of the other")
        assert deployment.leading() is not stopped
        assert "this replica has lost the lead" in stopped.log
        assert awake.complete(run_id, attempt=2)["run"]["latest_event_id"] == 1
        assert [each["outcome"] for each in awake.attempts(run_id)] == ["lease_expired", "completed"]


def lead_with_a_wrong_clock(deployment: Deployment, load: Load, seconds: float) -> None:
    """The replica whose clock is ten minutes fast takes the lead, and with it the word on leases."""
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
    """A lease is as long as it was asked for, whichever replica gave it, though the fast one takes it away."""
    with here.api() as api, fast.api() as other:
        given = []
        for number, giver in enumerate((api, other)):
            target = f"task:{name}-lasting-{number}"
            run_id = giver.create(giver.project_id(), target)["run_id"]
            worker, began = giver.register("lasting"), time.monotonic()
            assert giver.claim(worker, target, lease_s=LEASE_S)["run_id"] == run_id
            given.append((run_id, began))
        for run_id, began in given:
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
