"""Builds the request of an operation and parses its answer.

A refusal changed nothing; a missing answer is unknown.
"""

import json
from collections.abc import Callable
from urllib.parse import quote

from . import model
from .history import Answer, RunSnapshot, Sent
from .labels import body_of, label_of, mark

OK = {200, 201, 202}
REFUSED = {400, 404, 409, 410}

_RUN, _WORKER = "/runs/{run_id}", "/agent-workers/workers/{worker}"
_WRITES = {
    "create": "/runs",
    "claim": f"{_WORKER}/claim",
    "heartbeat": f"{_RUN}/heartbeats",
    "release": f"{_WORKER}{_RUN}/release",
    "append": f"{_RUN}/events",
    "complete": f"{_RUN}/complete",
    "signal": f"{_RUN}/signals",
    "wait": f"{_RUN}/wait",
    "publish": "/projects/{project_id}/events",
    "retry": f"{_RUN}/retry",
    "compensate": f"{_RUN}/compensations",
    "cancel": f"{_RUN}/cancel",
}
_READS = {
    "get": _RUN,
    "events": f"{_RUN}/events?limit=500",
    "children": f"{_RUN}/children",
    "spent": f"{_RUN}/budgets",
    "forks": "/runs?limit=100&label=of:{run_id}",
    "started": "/runs?limit=100&target={target}",
}


def request(kind: str, run_id: str, target: str, project_id: str, sent: Sent) -> tuple[str, str, bytes, str]:
    """Return (method, path, body, a header line or "").

    `target` of a signal, a wait and an event of the bus is the name of the event.
    """
    names = {"run_id": quote(run_id, safe=""), "target": quote(target, safe="")}
    path = (_WRITES | _READS)[kind].format(project_id=project_id, worker=sent.worker, **names)
    if kind in _READS:
        return "GET", path, b"", ""
    fence = {} if sent.attempt is None else {"attempt": sent.attempt}
    members = _run_body(kind, run_id, target, project_id, sent) or _lease_body(kind, target, sent)
    header = f"X-Lease-Token: {sent.token}\r\n" if sent.token else ""
    if kind == "retry":
        header = f"Idempotency-Key: {run_id} {sent.label}\r\n"
    return "POST", path, json.dumps(fence | members).encode(), header


def _run_body(kind: str, run_id: str, target: str, project_id: str, sent: Sent) -> dict | None:
    """Return the body of a request that needs no worker."""
    match kind:
        case "create":
            owner = {"kind": "project", "id": project_id}
            body = {"kind": "task", "owner": owner, "public_id": run_id, "request": {"target": target}}
            budget = {"limit": {"tokens": sent.budget}, "on_reached": "fail"}
            return body | {"pinned": sent.pinned} | ({} if sent.budget is None else {"budget": budget})
        case "signal":
            return {"name": target, "payload": sent.label, "idempotency_key": sent.label}
        case "publish":
            return {"name": target, "id": sent.label, "data": {"id": sent.label, "value": sent.match}}
        case "retry":
            names = {"of": run_id, "key": sent.label}  # a claim shows the config, and lists find labels
            return {"from_step": sent.step, "config": names, "labels": names}
    return None


def _lease_body(kind: str, target: str, sent: Sent) -> dict:
    """Return the body of a worker's request, without its fence."""
    match kind:
        case "claim":
            body = {"lease_duration_seconds": sent.lease_s, "targets": [target]}
            return body if sent.version is None else body | {"version": sent.version}
        case "heartbeat":
            return {"lease_duration_seconds": sent.lease_s}
        case "release":
            return {} if sent.retry_after_s is None else {"retry_after_seconds": sent.retry_after_s}
        case "append":
            after = {} if sent.after is None else {"expected_previous_event_id": sent.after}
            return {"events": [body_of(label) for label in sent.labels]} | after
        case "complete":
            code = {"terminal_error_code": "PLANNED"} if sent.status == "failed" else {}
            return {"status": sent.status, "output": sent.label} | code
        case "wait":
            match = {} if sent.match is None else {"match": {"value": sent.match}}
            event = {"name": target, **match}
            return {"reason": "event", "tool_call_id": sent.label, "event": event}
        case "compensate":
            return {"target": "task:undo", "title": sent.label, "idempotency_key": sent.label}
    return {}


def parse_answer(kind: str, answer: dict) -> Answer | None:
    """Parse a 2xx answer. None for a claim that got no run."""
    if kind == "claim" and answer["run"] is None:
        return None
    return _PARSED[kind](answer)


def trigger(group: str, target: str) -> dict:
    """Return the trigger that starts a run of the target for the matching events of a group."""
    return {"target": target, "event": {"name": group, "match": {"value": model.TRIGGERED}}}


def _sorted(page: dict, label: Callable[[dict], str]) -> tuple[str, ...]:
    assert page["page_info"]["next"] is None, "the runs are on one page"
    return tuple(sorted(label(run) for run in page["data"]))


def _seen(run: dict) -> RunSnapshot:
    return RunSnapshot(
        run["status"],
        run["attempt"],
        run["latest_event_id"],
        run["lease_owner"],
        run["output"],
        None if run["error"] is None else run["error"].get("code", "none"),
        run["completed_at"],
    )


def _brief(run: dict) -> RunSnapshot:
    return RunSnapshot(run["status"], run["attempt"], run["latest_event_id"], brief=True)


def _log(page: dict) -> tuple[str, ...]:
    """Return the labels of clients' events and the types of the server's events. A wrong event number is
    shown in the label, so that it never matches.
    """
    assert page["page_info"]["next"] is None, "a run of a history has one page of events"
    found = []
    for place, event in enumerate(page["data"], 1):
        name = label_of(event)
        found.append(name if event["event_id"] == place else f"{name} as event {event['event_id']}")
    return tuple(found)


def _appended(answer: dict) -> Answer:
    assert answer["latest_event_id"] == answer["run"]["latest_event_id"]
    return Answer(_seen(answer["run"]), appended=answer["appended_count"])


def _waited(answer: dict) -> Answer:
    return Answer(_seen(answer["run"]), taken=answer["signal"]["payload"] if "signal" in answer else None)


def _retried(answer: dict) -> Answer:
    """The run as it was created, also in a replayed answer."""
    run = answer["run"]
    assert (run["status"], run["attempt"]) == ("pending", 0)
    begins = () if run["retry_from"] is None else (mark(run["retry_from"]),)
    return Answer(made=run["run_id"], appended=run["latest_event_id"], log=begins)


def _children(answer: dict) -> Answer:
    held = {True: " held", False: ""}
    labels = [f"{run['title']}{held[run['available_at'] is None]}" for run in answer["data"]]
    return Answer(log=tuple(labels))


def _spent(answer: dict) -> Answer:
    return Answer(appended=sum(each["current"]["spent"]["tokens"] for each in answer["data"]))


_PARSED: dict[str, Callable[[dict], Answer]] = {
    "create": lambda answer: Answer(_seen(answer["run"]), accepted=answer.get("duplicate", False)),
    "claim": lambda answer: Answer(_brief(answer["run"]), token=answer["run"]["lease_token"]),
    "heartbeat": lambda answer: Answer(_seen(answer["run"])),
    "release": lambda answer: Answer(_brief(answer["run"])),
    "append": _appended,
    "complete": lambda answer: Answer(_seen(answer["run"]), accepted=answer["completed"]),
    "cancel": lambda answer: Answer(_seen(answer["run"]), accepted=answer["cancelled"]),
    "signal": lambda answer: Answer(accepted=answer["duplicate"], delivered=answer["delivered"]),
    "wait": _waited,
    "publish": lambda answer: Answer(accepted=answer.get("duplicate", False)),
    "retry": _retried,
    "compensate": lambda answer: Answer(accepted=answer["duplicate"]),
    "get": lambda answer: Answer(_seen(answer)),
    "events": lambda answer: Answer(log=_log(answer)),
    "children": _children,
    "spent": _spent,
    "forks": lambda answer: Answer(log=_sorted(answer, lambda run: run["labels"]["key"])),
    "started": lambda answer: Answer(log=_sorted(answer, lambda run: run["input"]["id"])),
}
