"""What Schemathesis cannot know of this server. `test_openapi_fuzz.py` starts it with this module as its hooks.

The environment tells the module what is there: FUZZ_PROJECT (an id), FUZZ_KEY_ID (of the key in use), FUZZ_TALLY
(the file for the count of answers).
"""

import atexit
import itertools
import json
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import schemathesis

from runstead.http.problems import STATUS

PROJECT, KEY_ID = os.environ["FUZZ_PROJECT"], os.environ["FUZZ_KEY_ID"]

#: What a valid request is refused with for the state that things are in, which no schema can say. Statuses that mean
#: nothing else (401, 403, 404, 409, 503) Schemathesis knows; these are the contract's, under 400 and 410.
STATE = {
    "EVENT_CURSOR_MISMATCH",
    "EVENT_LOG_FULL",
    "EVENT_RUN_TERMINAL",
    "EVENT_RUN_WAITING",
    "RUN_NOT_ACTIVE",
}
assert STATUS.keys() >= STATE

#: The only values with which INVALID_REQUEST may answer a request that fits its schema: where a list or a stream goes
#: on is opaque, and only what the server gave is good. A route whose values obey rules that no schema can tell has
#: their paths here too, with the rule.
OPAQUE = {"$.cursor"}
OPAQUE_HEADER = "Last-Event-ID"

#: What a body says of where things stand; made up, it is wrong.
CURSORS = {"attempt", "expected_previous_event_id", "expected_previous_external_event_sequence"}

tally = Counter()
conversations, agent_runs, waiting, claimed, lease_tokens = [], [], [], [], set()
turns = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    for members in (case.body, case.query):
        if isinstance(members, dict):
            _bound_the_wait(members)
    if case.meta is not None and case.meta.generation.mode.is_positive:
        _name_what_is_there(case)
    if case.path_parameters and case.path_parameters.get("key_id") == KEY_ID:
        case.path_parameters["key_id"] = "nobody"  # the key in use: without it, all that follows is 401


def _bound_the_wait(members):
    """A long poll that nobody answers is waited out: 30 s, time and again."""
    if str(members.get("wait_seconds", "")).replace(".", "", 1).isdigit():
        members["wait_seconds"] = type(members["wait_seconds"])(0)


def _name_what_is_there(case):
    """Of a valid request, three times in four: names of things that are there, and proofs that hold."""
    if next(turns) % 4 == 0:
        return
    path, query, headers = case.path_parameters or {}, case.query or {}, case.headers
    for names in (path, query):
        if "project" in names:
            names["project"] = PROJECT
    if "conversation_id" in path and agent_runs:
        path["conversation_id"], run_id = agent_runs[-1]
        for names in (path, case.body):
            if isinstance(names, dict) and "run_id" in names:
                names["run_id"] = run_id
    if "Idempotency-Key" in headers and len(headers["Idempotency-Key"]) < 200:
        headers["Idempotency-Key"] += f"-{next(turns)}"  # else nearly all reuse one: 409
    if "X-Lease-Token" in headers and headers["X-Lease-Token"] not in lease_tokens:
        del headers["X-Lease-Token"]
    if isinstance(case.body, dict):
        _fit_the_body(case, path)


def _fit_the_body(case, path):
    body, operation = case.body, case.operation.definition.raw["operationId"]
    if "worker_id" in path and "run_id" in path and claimed:
        path["worker_id"], run = claimed[-1]
        path["run_id"], case.headers["X-Lease-Token"] = run["run_id"], run["lease_token"]
    if operation == "heartbeat_run" and claimed:
        run = claimed[-1][1]
        path["run_id"], body["attempt"] = run["run_id"], run["attempt"]
        case.headers["X-Lease-Token"] = run["lease_token"]
    elif operation in {"complete_run", "append_events"} and claimed and next(turns) % 2:
        run = claimed[-1][1]
        path["run_id"], case.headers["X-Lease-Token"] = run["run_id"], run["lease_token"]
        body.update(dict.fromkeys(body.keys() & CURSORS))
    elif operation == "resume_run" and waiting:
        path["run_id"], resume = waiting.pop()
        body.update(resume)
    elif operation != "heartbeat_run":
        body.update(dict.fromkeys(body.keys() & CURSORS))
    if operation == "claim_runs":
        body |= {"kinds": ["task", "eval", "workflow"], "targets": None, "max_runs": 1}
    if isinstance(body.get("project_id"), str):
        body["project_id"] = PROJECT
    owner = body.get("owner")
    if isinstance(owner, dict) and owner.get("kind") == "project":
        owner["id"] = PROJECT
    elif isinstance(owner, dict) and conversations:
        owner["id"] = conversations[-1]


@schemathesis.hook
def after_call(context, case, response):
    tally[f"{case.operation.method.upper()} {case.operation.path} {response.status_code}"] += 1
    if not 200 <= response.status_code < 300:
        return
    match case.operation.definition.raw["operationId"]:
        case "create_conversation":
            conversations.append(response.json()["id"])
        case "create_run":
            run = response.json()["run"]
            if run["conversation_id"] is not None:
                agent_runs.append((run["conversation_id"], run["run_id"]))
        case "claim_runs":
            for run in response.json()["runs"]:
                lease_tokens.add(run["lease_token"])
                claimed.append((case.path_parameters["worker_id"], run))
        case "wait_run":
            run = response.json()["run"]
            kind = "tool_result" if run["waiting_reason"] == "tool" else run["waiting_reason"]
            call = run["waiting_tool_call_id"] or "call"
            waiting.append((run["run_id"], {"type": kind, "tool_call_id": call}))


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """False for what is in order."""
    if "ensure_resource_availability" in failure.checks and "`POST /projects`" in failure.message:
        return False  # a project that a key made is there for the key that came with it, not for the maker
    if "positive_data_acceptance" not in failure.checks:
        return True
    problem = {}
    with suppress(ValueError):
        problem = response.json()
    if problem["code"] == "INVALID_REQUEST":
        refused = {error["path"] for error in problem.get("errors", ())}
        return not (refused and refused <= OPAQUE) and OPAQUE_HEADER not in problem["detail"]
    return problem["code"] not in STATE


@atexit.register
def _write():
    Path(os.environ["FUZZ_TALLY"]).write_text(json.dumps(tally))
