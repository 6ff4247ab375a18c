"""`veryfront/agent`: external workers that claim agent runs, renew the leases, and complete the runs."""

import pytest


@pytest.fixture(scope="module")
def conversation(api):
    return api.post("/conversations", {"project_id": api.project_id()})["id"]


@pytest.fixture(scope="module")
def agent_run(api, conversation):
    """Creates an agent run for workers of a kind."""

    def create(run_id, kind, **request):
        body = {
            "kind": "agent",
            "owner": {"kind": "conversation", "id": conversation},
            "public_id": run_id,
            "request": {"mode": "agent", "agent_id": "coder", "implementation_kind": kind, **request},
        }
        return api.post("/runs", body)["run"]

    return create


@pytest.fixture(scope="module")
def life(drive, agent_run, conversation):
    """The facts of a worker that completed one run and failed another."""
    message = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Greet Ada"}]}
    context = {"conversation_id": conversation, "project_id": None, "branch_id": None}
    start = {"messages": [message], "context": context, "forwarded_props": {"model": "opus"}}
    agent_run("whole-life", "claude-code", input=start)
    agent_run("failing", "claude-code")
    return drive("worker")


def test_a_worker_is_registered_once_by_its_key(life, api):
    worker = life["worker"]
    assert (worker["implementation_kind"], worker["worker_key"]) == ("claude-code", "laptop:1")
    assert (worker["display_name"], worker["metadata"]) == ("My laptop", {"cpus": 8})
    assert worker["project_id"] == api.project_id()
    assert life["registeredAgain"]["id"] == worker["id"]


def test_a_heartbeat_is_noted(life):
    assert life["heartbeat"]["id"] == life["worker"]["id"]
    assert life["heartbeat"]["last_heartbeat_at"] is not None


def test_a_worker_that_never_registered_may_use_the_key_of_the_project(life):
    assert life["heartbeatOfOneThatNeverRegistered"] == life["worker"]["id"]


def test_the_oldest_run_is_claimed_with_its_start_payload(life, conversation):
    run = life["claimed"]
    assert (run["run_id"], run["conversation_id"], run["status"]) == ("whole-life", conversation, "running")
    assert (run["agent_id"], run["lease_owner"]) == ("coder", life["worker"]["id"])
    (message,) = run["request_snapshot"]["messages"]
    assert (message["role"], message["parts"]) == ("user", [{"type": "text", "text": "Greet Ada"}])
    assert run["request_snapshot"]["forwardedProps"] == {"model": "opus"}
    assert (run["latest_event_id"], run["latest_external_event_sequence"]) == (0, 0)


def test_a_session_is_recorded_and_ended(life):
    session, ended = life["session"], life["ended"]
    assert (session["session_key"], session["status"]) == ("session-1", "active")
    assert (session["worker_id"], session["metadata"]) == (life["worker"]["id"], {"cwd": "/src"})
    assert (ended["id"], ended["status"]) == (session["id"], "completed")
    assert ended["ended_at"] is not None


def test_a_lease_is_renewed(life):
    assert life["renewed"]["run_id"] == "whole-life"
    assert life["renewed"]["lease_expires_at"] > life["claimed"]["lease_expires_at"]
    assert life["renewed"]["worker_session"]["session_key"] == "session-1"


def test_an_append_with_an_old_sequence_is_refused_and_leaves_nothing(life, api):
    assert (life["stale"]["status"], life["stale"]["detail"]) == (400, "External run event cursor mismatch")
    types = [event["event_type"] for event in api.events("whole-life")]
    assert types == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]


def test_an_append_after_the_end_is_refused(life):
    assert life["late"]["status"] == 400
    assert life["late"]["detail"] == "Cannot append external events to a terminal run"


def test_a_completed_run_is_completed(life, api, conversation):
    run = api.run("whole-life")
    assert (run["status"], run["error"], run["lease_owner"]) == ("completed", None, None)
    snapshot = api.get(f"/conversations/{conversation}/runs/whole-life/snapshot")["events"]
    (message,) = snapshot[0]["event"]["messages"]
    assert (message["content"], message["status"]) == ("Hello, Ada", "completed")


def test_a_failed_run_says_why(life, api):
    run = api.run(life["second"])
    assert (run["run_id"], run["status"]) == ("failing", "failed")
    assert run["error"] == {"message": "The model did not answer", "code": "MODEL_OVERLOADED"}


def test_where_nothing_waits_nothing_is_claimed(life):
    assert life["nothing"] is None
    assert life["redirects"] == 0


def every_run(api):
    cursor = {}
    while cursor is not None:
        page = api.get("/projects/default/runs", limit=100, **cursor)
        yield from page["data"]
        following = page["page_info"]["next"]
        cursor = None if following is None else {"cursor": following}


def test_two_workers_that_compete_for_200_runs_never_get_the_same_one(start, api, agent_run):
    runs = [agent_run(f"contested-{number}", "rival")["run_id"] for number in range(200)]
    rivals = [start("rival", name=name) for name in ("one", "other")]
    for rival in rivals:
        rival.until("ready")
    for rival in rivals:
        rival.write_line("go")
    one, other = (rival.facts()["won"] for rival in rivals)
    assert one
    assert other
    assert sorted(one + other) == sorted(runs)
    listed = {run["run_id"]: (run["status"], run["attempt"]) for run in every_run(api)}
    assert {listed[run_id] for run_id in runs} == {("completed", 1)}
    for name, won in (("one", one), ("other", other)):
        for run_id in won:
            done_by, ended = api.events(run_id)
            assert (done_by["payload"]["value"], ended["event_type"]) == (name, "RUN_FINISHED")


@pytest.fixture(scope="module")
def lost(drive, agent_run):
    agent_run("forgotten", "forgetful")
    return drive("lost_lease")


def test_a_run_whose_worker_stops_renewing_is_finished_by_another(lost, api):
    first, second = lost["workers"]
    assert (lost["lost"]["lease_owner"], lost["found"]["lease_owner"]) == (first, second)
    assert lost["taken"] is None
    assert lost["lost"]["run_id"] == lost["found"]["run_id"] == "forgotten"
    assert api.run("forgotten")["status"] == "completed"
    assert len(api.attempts("forgotten")) == 2


def test_the_other_worker_goes_on_where_the_first_one_was_lost(lost):
    assert lost["found"]["latest_external_event_sequence"] == 1
    assert lost["found"]["worker_session"]["session_key"] == "of-the-first"


def test_a_worker_that_comes_back_too_late_changes_nothing(lost, api):
    assert lost["renewed"] is None
    assert lost["stale"]["detail"] == "External run event cursor mismatch"
    run = api.run("forgotten")
    assert (run["status"], run["error"]) == ("completed", None)
    assert [event["payload"].get("value") for event in api.events("forgotten")] == ["first", "second", None]
