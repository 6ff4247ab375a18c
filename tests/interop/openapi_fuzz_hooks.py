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

#: The only values with which INVALID_REQUEST may answer a request that fits its schema: a cursor is opaque, and only
#: the server's own are good.
OPAQUE = {"$.cursor"}

#: What a body says of where things stand; made up, it is wrong.
PROOFS = {"attempt", "expected_previous_event_id", "expected_previous_external_event_sequence"}

tally = Counter()
conversations, agent_runs, waiting, lease_tokens = [], [], [], set()
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
    """Of a valid request, three times in four: the project of the key, a conversation, runs to claim,
    a new Idempotency-Key, and no proof of a claim that was never made."""
    if next(turns) % 4 == 0:
        return
    path = case.path_parameters or {}
    if "project" in path:
        path["project"] = PROJECT
    if path.keys() >= {"conversation_id", "run_id"} and agent_runs:
        path["conversation_id"], path["run_id"] = agent_runs[-1]
    if case.operation.path.endswith("/resume") and waiting:
        path["run_id"], resume = waiting.pop()
        case.body.update(resume)
    if "project" in (case.query or {}):
        case.query["project"] = PROJECT
    if "Idempotency-Key" in (case.headers or {}) and len(case.headers["Idempotency-Key"]) < 200:
        case.headers["Idempotency-Key"] += f"-{next(turns)}"
    if (case.headers or {}).get("X-Lease-Token", None) not in {None, *lease_tokens}:
        del case.headers["X-Lease-Token"]
    if not isinstance(case.body, dict):
        return
    for name in case.body.keys() & PROOFS:
        case.body[name] = None if not case.operation.path.endswith("/heartbeats") else 1
    owner = case.body.get("owner")
    if isinstance(owner, dict) and owner.get("kind") == "project":
        owner["id"] = PROJECT
    elif isinstance(owner, dict) and owner.get("kind") == "conversation" and conversations:
        owner["id"] = conversations[-1]
    if isinstance(case.body.get("project_id"), str):
        case.body["project_id"] = PROJECT
    if "targets" in case.body or case.operation.path.endswith("/claim"):
        case.body["kinds"] = ["task", "eval", "workflow"]
        case.body["max_runs"] = 1  # and leave some for others
        case.body.pop("targets", None)


@schemathesis.hook
def after_call(context, case, response):
    tally[f"{case.operation.method.upper()} {case.operation.path} {response.status_code}"] += 1
    if case.operation.path == "/conversations" and response.status_code == 201:
        conversations.append(response.json()["id"])
    if case.operation.path == "/runs" and response.status_code == 202:
        run = response.json()["run"]
        if run["conversation_id"] is not None:
            agent_runs.append((run["conversation_id"], run["run_id"]))
    if case.operation.path.endswith("/wait") and response.status_code == 200:
        run = response.json()["run"]
        reason, call = run["waiting_reason"], run["waiting_tool_call_id"] or "call"
        waiting.append(
            (run["run_id"], {"type": reason if reason != "tool" else "tool_result", "tool_call_id": call})
        )
    if case.operation.path.endswith("/claim") and response.status_code == 200:
        lease_tokens.update(run["lease_token"] for run in response.json()["runs"])


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
        return not refused or not refused <= OPAQUE
    return problem["code"] not in STATE


@atexit.register
def _write():
    Path(os.environ["FUZZ_TALLY"]).write_text(json.dumps(tally))
