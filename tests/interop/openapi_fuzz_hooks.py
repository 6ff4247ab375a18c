"""What Schemathesis cannot know of this server. `test_openapi_fuzz.py` starts it with this module as its hooks.

The environment tells the module what is there: FUZZ_PROJECT (an id), FUZZ_KEY_ID (of the key in use), FUZZ_TALLY
(the file for the count of answers).
"""

import atexit
import itertools
import json
import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import schemathesis

from runstead.core import limits
from runstead.http.framework.problems import STATUS

PROJECT, KEY_ID = os.environ["FUZZ_PROJECT"], os.environ["FUZZ_KEY_ID"]

#: What a valid request is refused with for the state that things are in, which no schema can say. Statuses that mean
#: nothing else (401, 403, 404, 409, 503) Schemathesis knows; these are the contract's, under 400 and 410.
STATE = {
    "EVENT_CURSOR_MISMATCH",
    "EVENT_LOG_FULL",
    "EVENT_RUN_TERMINAL",
    "EVENT_RUN_WAITING",
    "ARTIFACT_MISMATCH",
    "PRECONDITION_FAILED",
    "PRECONDITION_REQUIRED",
    "RANGE_NOT_SATISFIABLE",
    "RUN_NOT_ACTIVE",
}
assert STATUS.keys() >= STATE

#: The only values with which INVALID_REQUEST may answer a request that fits its schema. Where a list or a stream goes
#: on is opaque, and only what the server gave is good.
OPAQUE = r"\$\.cursor"
OPAQUE_HEADER = "Last-Event-ID"

#: The values that obey rules which no schema can tell, by operation: a pattern of their paths.
UNTOLD = {
    # a place in one run's log says nothing in a family's: a parameter cannot be bound to another
    "list_events": r"\$\.after_event_id",
    "list_conversation_run_events": r"\$\.after_event_id",
    "stream_events": r"\$\.after_event_id",
    "stream_conversation_run_events": r"\$\.after_event_id",
    # no two fields of one name, no two options of one value, no lower bound above the upper one; and time goes on
    "create_input_request": r"\$\.(fields\[\d+\]\.(name|options|minLength|min)|expires_at)",
    # what a form takes is told by the form
    "respond_to_input_request": r"\$\.values\..*",
    # the pattern knows five fields, not which numbers and names there are, nor that no 31st of June will come; and the
    # names of zones are many, and grow; a moment has to be still to come
    "create_schedule": r"\$\.(schedule|timezone|run_at)",
    # ids go with the kind, a reason with a pause
    "update_schedule": r"\$\.(schedule|timezone|run_at|paused_reason|request\.runtime_target_kind)",
    # no two of one trigger
    "sync_source_schedules": r"\$\.schedules\[\d+\]\.(schedule|timezone|run_at|source_trigger_id)",
    # ports beyond 65535, addresses with a letter too many
    "register_push_service": r"\$\.(base_url|invoke_url)",
    # a run waits for the runs right below it
    "wait_run": r"\$\.awaited_run_id",
    # a pattern cannot count the bytes of a base64
    "create_webhook": r"\$\.(url|secret)",
    "rotate_webhook": r"\$\.secret",
    "update_webhook": r"\$\.url",
    # no two of one target
    # the one lies before the other
    "get_project_usage": r"\$\.(since|until)",
    "put_concurrency_limits": r"\$\.limits\[\d+\]\.target",
}

#: What makes or ends something, and is remembered.
MADE = {
    *("create_conversation", "delete_conversation", "create_run", "claim_runs", "wait_run", "append_events"),
    *("complete_run", "cancel_run", "create_input_request", "respond_to_input_request"),
    *("cancel_input_request", "create_schedule", "delete_schedule", "register_push_service", "create_batch"),
    "retry_batch",
    *(
        "create_webhook",
        "test_webhook",
        "delete_webhook",
        "create_trigger",
        "rotate_trigger",
        "delete_trigger",
    ),
    "store_artifact",
    "put_price",
}

#: An address where nobody listens.
CLOSED = "http://127.0.0.1:9"

FILLED = {"checkbox": True, "confirm": True, "number": 12, "email": "a@b", "url": "a:b"}

#: What a body says of where things stand; made up, it is wrong.
CURSORS = {"attempt", "expected_previous_event_id", "expected_previous_external_event_sequence"}

tally = Counter()
conversations, agent_runs, waiting, claimed, lease_tokens = [], [], [], [], set()
parents, families, logged, ended, forms, schedules, services, batches = [], [], [], [], [], [], [], []
webhooks, deliveries, triggers, tokens, stored, prices = [], [], [], [], [], []
alive = []  # runs that nobody has ended yet
turns = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    for members in (case.body, case.query):
        if isinstance(members, dict):
            _bound_the_wait(members)
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive:
        _name_what_is_there(case)
    if isinstance(case.body, dict):
        for name in case.body.keys() & {"base_url", "invoke_url"}:
            _turn_inwards(case.body, name, limits.push_service_url_chars_max if positive else None)
    if case.path_parameters and case.path_parameters.get("key_id") == KEY_ID:
        case.path_parameters["key_id"] = "nobody"  # the key in use: without it, all that follows is 401


def _bound_the_wait(members):
    """A long poll that nobody answers is waited out: 30 s, time and again."""
    if str(members.get("wait_seconds", "")).replace(".", "", 1).isdigit():
        members["wait_seconds"] = type(members["wait_seconds"])(0)


def _turn_inwards(body, name, chars_max):
    """Runs are sent to where a push service says that it is: no host but this one, and a port where nobody listens."""
    if isinstance(url := body[name], str) and re.match("https?:", url, re.IGNORECASE):
        body[name] = f"{CLOSED}/{url.partition('//')[2]}"[:chars_max]


def _name_what_is_there(case):
    """Of a valid request, three times in four: names of things that are there, and proofs that hold."""
    if next(turns) % 4 == 0:
        return
    path, query, headers = case.path_parameters or {}, case.query or {}, case.headers
    operation = case.operation.definition.raw["operationId"]
    for names in (path, query):
        if "project" in names:
            names["project"] = PROJECT
    _name_in_the_path(path, operation)
    if operation == "delete_price" and prices:
        path["project"] = PROJECT
        query["provider"], query["model"] = prices.pop()
    if operation == "store_artifact" and alive:
        path["run_id"] = alive[-1]
        for name in query.keys() & {"attempt", "sha256"}:  # made up, they are wrong
            del query[name]
    if operation == "create_input_request" and agent_runs:
        case.body["run_id"] = agent_runs[-1][1]
    elif operation == "respond_to_input_request" and forms:
        case.body["values"] = _filled(forms[-1][2])
    if "If-Match" in headers and next(turns) % 2:
        headers["If-Match"] = "*"
    if "Idempotency-Key" in headers and len(headers["Idempotency-Key"]) < 200:
        headers["Idempotency-Key"] += f"-{next(turns)}"  # else nearly all reuse one: 409
    if "X-Lease-Token" in headers and headers["X-Lease-Token"] not in lease_tokens:
        del headers["X-Lease-Token"]
    if isinstance(case.body, dict):
        _fit_the_body(case, path, operation)


def _name_in_the_path(path, operation):
    if "conversation_id" in path and agent_runs:
        path["conversation_id"], run_id = agent_runs[-1]
        if "run_id" in path:
            path["run_id"] = quote(run_id, safe="")
    if "schedule_id" in path and schedules:
        path["project"], path["schedule_id"] = PROJECT, schedules[-1]
    elif "batch_id" in path and batches:
        path["project"], path["batch_id"] = PROJECT, batches[-1]
    elif "service_id" in path and services:
        path["service_id"] = services[-1]
    elif "delivery_id" in path and deliveries:
        path["project"], path["webhook_id"], path["delivery_id"] = PROJECT, *deliveries[-1]
    elif "webhook_id" in path and webhooks:
        # The newest one is kept, with what was sent to it.
        path["project"], path["webhook_id"] = PROJECT, webhooks[0 if operation == "delete_webhook" else -1]
    elif "trigger_id" in path and triggers:
        path["project"], path["trigger_id"] = PROJECT, triggers[0 if operation == "delete_trigger" else -1]
    elif "token" in path and tokens:
        path["token"] = tokens[-1]
    elif operation == "read_artifact" and stored:
        path["run_id"], path["name"] = stored[-1]
    elif "event_id" in path and logged:
        path["run_id"], path["event_id"] = logged[-1]
    elif "child_run_id" in path and families:
        path["run_id"], path["child_run_id"] = families[-1]
    elif "input_request_id" in path and forms:
        path["conversation_id"], path["input_request_id"], _ = forms[-1]
    elif operation == "delete_run" and ended:
        path["run_id"] = ended.pop()
    elif operation == "delete_conversation" and len(conversations) > 1:
        path["conversation_id"] = conversations.pop(0)


def _filled(fields):
    """A form filled in so far as it has to be."""
    return {
        field["name"]: field["options"][0]["value"] if "options" in field else FILLED.get(field["type"], "a")
        for field in fields
        if field["required"]
    }


def _fit_the_body(case, path, operation):
    body = case.body
    if "worker_id" in path and "run_id" in path and claimed:
        path["worker_id"], run = claimed[-1]
        path["run_id"], case.headers["X-Lease-Token"] = quote(run["run_id"], safe=""), run["lease_token"]
    if operation == "heartbeat_run" and claimed:
        run = claimed[-1][1]
        path["run_id"], body["attempt"] = quote(run["run_id"], safe=""), run["attempt"]
        case.headers["X-Lease-Token"] = run["lease_token"]
    elif operation in {"complete_run", "append_events"} and claimed and next(turns) % 2:
        run = claimed[-1][1]
        path["run_id"], case.headers["X-Lease-Token"] = quote(run["run_id"], safe=""), run["lease_token"]
        body.update(dict.fromkeys(body.keys() & CURSORS))
    elif operation == "resume_run" and waiting:
        run_id, resume = waiting.pop()
        path["run_id"] = quote(run_id, safe="")
        body.update(resume)
    elif operation != "heartbeat_run":
        body.update(dict.fromkeys(body.keys() & CURSORS))
    if operation == "create_input_request" and next(turns) % 2:
        body["expires_at"] = None
    if operation == "create_run" and parents and next(turns) % 2:
        body["parent_run_id"] = parents[-1]
    if operation == "create_batch":
        for run in body["runs"]:  # ids that are there twice, and parents that are not, refuse the whole
            run.pop("public_id", None)
            run.pop("parent_run_id", None)
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
    if (
        response.status_code == 409
        and len(agent_runs) > 1
        and "conversation_id" in (case.path_parameters or {})
    ):
        agent_runs.pop()  # it has ended, or waits
    if not 200 <= response.status_code < 300:
        return
    operation = case.operation.definition.raw["operationId"]
    if operation in MADE:
        _remember(operation, case.path_parameters, response.json())


def _remember(operation, path, answer):
    if "run" in answer and operation != "claim_runs":
        _remember_run(operation, answer)
    match operation:
        case "create_conversation":
            conversations.append(answer["id"])
        case "delete_conversation":
            agent_runs[:] = [run for run in agent_runs if run[0] != answer["id"]]
            conversations[:] = [one for one in conversations if one != answer["id"]]
        case "claim_runs":
            for run in answer["runs"]:
                lease_tokens.add(run["lease_token"])
                claimed.append((path["worker_id"], run))
        case "create_input_request" if answer["status"] == "open":
            forms.append((answer["conversation_id"], answer["id"], answer["fields"]))
        case "respond_to_input_request" | "cancel_input_request":
            forms[:] = [form for form in forms if form[1] != answer["id"]]
        case "create_schedule" if path["project"] == PROJECT:
            schedules.append(answer["schedule"]["id"])
        case "create_batch" | "retry_batch" if path["project"] == PROJECT:
            batches.append(answer["batch"]["id"])
        case "delete_schedule":
            schedules[:] = [one for one in schedules if one != answer["schedule"]["id"]]
        case "register_push_service":
            services.append(answer["service"]["id"])
        case "store_artifact":
            stored.append((path["run_id"], path["name"]))
        case _ if path.get("project") == PROJECT:
            _remember_callers(operation, path, answer)


def _remember_callers(operation, path, answer):
    """Who is called, and who calls."""
    match operation:
        case "create_webhook":
            webhooks.append(answer["webhook"]["id"])
        case "test_webhook":
            deliveries.append((path["webhook_id"], answer["delivery"]["id"]))
        case "delete_webhook":
            webhooks[:] = [one for one in webhooks if one != path["webhook_id"]]
            deliveries[:] = [one for one in deliveries if one[0] != path["webhook_id"]]
        case "create_trigger" | "rotate_trigger":
            tokens.append(answer["token"])
            if operation == "create_trigger":
                triggers.append(answer["trigger"]["id"])
        case "put_price":
            prices.append((answer["price"]["provider"], answer["price"]["model"]))
        case "delete_trigger":
            triggers[:] = [one for one in triggers if one != path["trigger_id"]]


def _remember_run(operation, answer):
    run, run_id = answer["run"], answer["run"]["run_id"]
    match operation:
        case "create_run":
            if run["conversation_id"] is not None:
                agent_runs.append((run["conversation_id"], run_id))
            alive.append(quote(run_id, safe=""))
            if run["parent_run_id"] is None:
                parents.append(run_id)
            else:
                families.append((quote(run["parent_run_id"], safe=""), quote(run_id, safe="")))
        case "wait_run":
            kind = "tool_result" if run["waiting_reason"] == "tool" else run["waiting_reason"]
            waiting.append((run_id, {"type": kind, "tool_call_id": run["waiting_tool_call_id"] or "call"}))
        case "append_events" if answer["appended_count"]:
            logged.append((quote(run_id, safe=""), str(answer["latest_event_id"])))
        case "complete_run" | "cancel_run":
            ended.append(quote(run_id, safe=""))
            alive[:] = [one for one in alive if one != ended[-1]]


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """False for what is in order."""
    if "ensure_resource_availability" in failure.checks and "`POST /projects`" in failure.message:
        return False  # a project that a key made is there for the key that came with it, not for the maker
    if "use_after_free" in failure.checks and re.search("`DELETE /projects/[^/]*/prices`", failure.message):
        return False  # the query says which price is deleted: what is read at the same path is the list
    if "positive_data_acceptance" not in failure.checks:
        return True
    problem = {}
    with suppress(ValueError):
        problem = response.json()
    if problem["code"] == "INVALID_REQUEST":
        refused = {error["path"] for error in problem.get("errors", ())}
        untold = UNTOLD.get(case.operation.definition.raw["operationId"], OPAQUE)
        known = all(re.fullmatch(f"{OPAQUE}|{untold}", path, re.DOTALL) for path in refused)
        return not (refused and known) and OPAQUE_HEADER not in problem["detail"]
    return problem["code"] not in STATE


@atexit.register
def _write():
    Path(os.environ["FUZZ_TALLY"]).write_text(json.dumps(tally))
