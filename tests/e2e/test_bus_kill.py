"""SIGKILL between the acceptance of an event and its delivery: every run that waited gets it once, every trigger starts once."""

import threading
from contextlib import suppress

import httpx2
import pytest

from tests.support.server import PROJECT, SHORT_LEASE, Server
from tests.support.until import until

MATCHES = (None, {"order.id": 7}, {"order.id": 8})  # the last is that of another event
RUNS, TRIGGERS, AT_ONCE = 36, 9, 4
LIMITS = SHORT_LEASE | {"bus_event_resumes_max": AT_ONCE, "bus_waits_per_page_max": 2, "bus_delivery_s": 1}
#: It resumes some runs before the response, and leaves the others to a loop that does not run while the test lasts.
SLOW = LIMITS | {"bus_tick_s": 86_400}
#: Its loop continues at once what the other server has left.
NEXT = LIMITS | {"bus_tick_s": 0.1}


@pytest.fixture(params=["sqlite", "postgres"])
def servers(request, tmp_path):
    """A server that is to be killed, and one that is started after it, over the same store."""
    database = tmp_path / "runstead.db" if request.param == "sqlite" else request.getfixturevalue("url")
    made = [Server(tmp_path, database, limits=limits) for limits in (SLOW, NEXT)]
    yield made
    for server in made:
        server.kill()


def prepare(api):
    """Create runs that wait and triggers, with each match in turn. Return the runs and targets that `publish` is for."""
    project_id, runs, targets = api.project_id(), [], []
    for number in range(RUNS):
        runs.append(api.create(project_id, public_id=f"run-{number}")["run_id"])
        event = {"name": "paid", "match": MATCHES[number % 3]}
        api.post(f"/runs/{runs[-1]}/wait", {"reason": "event", "tool_call_id": "call-1", "event": event})
    for number in range(TRIGGERS):
        targets.append(f"task:ship-{number}")
        event = {"name": "paid", "match": MATCHES[number % 3]}
        api.post(f"/projects/{PROJECT}/triggers", {"target": targets[-1], "event": event})
    return runs, targets


def publish(api):
    body = {"name": "paid", "data": {"order": {"id": 7}}, "id": "payment-77"}
    return api.post(f"/projects/{PROJECT}/events", body)


def deliveries(api, runs):
    """Return for each run how often it has the event in its log."""
    return [sum("signal_id" in event["payload"]["value"] for event in api.events(run_id)) for run_id in runs]


def starts(api, targets):
    """Return for each target how many runs there are."""
    return [len(api.get("/runs", target=target)["data"]) for target in targets]


def check(api, runs, targets):
    """Wait until the event is delivered. Each that matches has it once, also after the request is repeated."""
    wanted = [0 if number % 3 == 2 else 1 for number in range(RUNS)]
    until(lambda: sum(deliveries(api, runs)) >= sum(wanted), "the delivery of the event")
    until(lambda: not publish(api).get("pending"), "the end of the delivery")
    assert publish(api)["duplicate"]
    assert deliveries(api, runs) == wanted
    assert starts(api, targets) == wanted[:TRIGGERS]
    for run_id, count in zip(runs, wanted, strict=True):
        run = api.run(run_id)
        assert (run["status"], run["latest_event_id"]) == ("running" if count else "waiting", count)


def test_a_server_that_is_killed_after_it_accepted_an_event_has_stored_it_for_all(servers):
    killed, following = servers
    with killed.start().api() as api:
        runs, targets = prepare(api)
        published = publish(api)
        assert published["pending"]
        # The response came before the last run got the event, and no loop continues.
        assert 0 < sum(deliveries(api, runs)) == published["resumed"] < RUNS // 3
        killed.kill()
    with following.start().api() as api:
        check(api, runs, targets)


def test_a_server_that_is_killed_while_it_accepts_an_event_delivers_it_once(servers):
    killed, following = servers
    with killed.start().api() as api:
        runs, targets = prepare(api)

        def accept():
            with suppress(httpx2.TransportError), killed.api() as own:
                publish(own)

        accepting = threading.Thread(target=accept)
        accepting.start()
        until(lambda: sum(starts(api, targets)), "the first run of a trigger")
        killed.kill()
        accepting.join()
    with following.start().api() as api:
        check(api, runs, targets)
