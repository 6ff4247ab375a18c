"""Two servers over one PostgreSQL: one of them leads, and when it ends, in any way, the other one does."""

import signal

import pytest

from tests.support.until import until


@pytest.fixture
def new_pair(new_two_servers):
    """new_pair(): (the leader, the other server), each with a client."""

    def make(**options):
        servers, apis = new_two_servers(**options)
        until(lambda: any(leads(api) for api in apis), "a leader")
        return sorted(zip(servers, apis, strict=True), key=lambda pair: not leads(pair[1]))

    return make


@pytest.fixture
def replicas(new_pair):
    return new_pair()


def leads(api):
    return api.get("/readyz")["leader"]


def metric(api, name):
    [line] = [line for line in api.http.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


def claimed(api, *, lease_s=5):
    run_id = api.create(api.project_id())["run_id"]
    assert api.claim(api.register("dying"), lease_s=lease_s)["run_id"] == run_id
    return run_id


def test_a_killed_leader_is_replaced_and_its_loops_continue(replicas):
    (leader, _), (_, api) = replicas
    term = api.get("/readyz")["term"]
    assert not leads(api)
    run_id = claimed(api)
    leader.kill()
    until(lambda: leads(api), "another leader")
    assert api.get("/readyz")["term"] == term + 1
    assert (metric(api, "runstead_leader"), metric(api, "runstead_leader_term")) == (1, term + 1)
    until(lambda: api.run(run_id)["status"] == "pending", "the lease to be taken away")
    assert metric(api, 'runstead_loop_rows_total{loop="deadlines"}') == 1


def test_a_leader_that_stops_hands_over_at_once(new_pair):
    # So rare that the other server would not look by itself.
    (leader, _), (_, api) = new_pair(limits={"leader_poll_s": 600, "leader_lease_s": 1_800})
    leader.signal(signal.SIGTERM)
    until(lambda: leads(api), "another leader")
    assert leader.ended() == 0


def test_a_leader_that_was_stopped_no_longer_leads_when_it_continues(replicas):
    (leader, stopped), (_, api) = replicas
    term = api.get("/readyz")["term"]
    leader.signal(signal.SIGSTOP)
    try:
        until(lambda: leads(api), "another leader")
    finally:
        leader.signal(signal.SIGCONT)
    assert not leads(stopped)
    assert leads(api)
    until(lambda: stopped.get("/readyz")["term"] == term + 1, "it to hear of the other")
    assert not leads(stopped)
    assert "this replica has lost the lead" in leader.log
