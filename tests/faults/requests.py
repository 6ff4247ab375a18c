"""Builds the request of an operation and parses its answer.

A refusal changed nothing; a missing answer is unknown.
"""

import json
from urllib.parse import quote

from .history import Answer, RunSnapshot, Sent

OK = {200, 201, 202}
READS = {"get": "", "events": "/events?limit=500", "children": "/children"}
REFUSED = {400, 404, 409, 410}


def request(kind: str, run_id: str, target: str, project_id: str, sent: Sent) -> tuple[str, str, bytes, str]:
    """Return (method, path, body, the header line of the lease token or "")."""
    run = f"/runs/{quote(run_id, safe='')}"
    worker = f"/agent-workers/workers/{sent.worker}"
    body: dict = {} if sent.attempt is None else {"attempt": sent.attempt}
    method = "POST"
    match kind:
        case "create":
            path = "/runs"
            owner = {"kind": "project", "id": project_id}
            body = {"kind": "task", "owner": owner, "public_id": run_id, "request": {"target": target}}
            body["pinned"] = sent.pinned
        case "claim":
            path = f"{worker}/claim"
            body = {"lease_duration_seconds": sent.lease_s, "targets": [target]}
            body |= {} if sent.version is None else {"version": sent.version}
        case "heartbeat":
            path = f"{run}/heartbeats"
            body["lease_duration_seconds"] = sent.lease_s
        case "release":
            path = f"{worker}/runs/{quote(run_id, safe='')}/release"
            if sent.retry_after_s is not None:
                body["retry_after_seconds"] = sent.retry_after_s
        case "append":
            path = f"{run}/events"
            body["events"] = [{"type": "CUSTOM", "name": "note", "value": label} for label in sent.labels]
            if sent.after is not None:
                body["expected_previous_event_id"] = sent.after
        case "complete":
            path = f"{run}/complete"
            body |= {"status": sent.status, "output": sent.label}
            if sent.status == "failed":
                body["terminal_error_code"] = "PLANNED"
        case "signal":
            path = f"{run}/signals"
            body = {"name": "go", "payload": sent.label, "idempotency_key": sent.label}
        case "wait":
            path = f"{run}/wait"
            body |= {"reason": "event", "tool_call_id": sent.label, "event": {"name": "go"}}
        case "compensate":
            path = f"{run}/compensations"
            body |= {"target": "task:undo", "title": sent.label, "idempotency_key": sent.label}
        case "cancel":
            path, body = f"{run}/cancel", {}
        case _:
            return "GET", run + READS[kind], b"", ""
    token = f"X-Lease-Token: {sent.token}\r\n" if sent.token else ""
    return method, path, json.dumps(body).encode(), token


def parse_answer(kind: str, answer: dict) -> Answer | None:
    """Parse a 2xx answer. None for a claim that got no run."""
    match kind:
        case "create":
            return Answer(_seen(answer["run"]), accepted=answer.get("duplicate", False))
        case "claim":
            run = answer["run"]
            return None if run is None else Answer(_brief(run), token=run["lease_token"])
        case "heartbeat":
            return Answer(_seen(answer["run"]))
        case "release":
            return Answer(_brief(answer["run"]))
        case "append":
            assert answer["latest_event_id"] == answer["run"]["latest_event_id"]
            return Answer(_seen(answer["run"]), appended=answer["appended_count"])
        case "complete":
            return Answer(_seen(answer["run"]), accepted=answer["completed"])
        case "cancel":
            return Answer(_seen(answer["run"]), accepted=answer["cancelled"])
        case "signal":
            return Answer(accepted=answer["duplicate"], delivered=answer["delivered"])
        case "wait":
            return Answer(
                _seen(answer["run"]), taken=answer["signal"]["payload"] if "signal" in answer else None
            )
        case "compensate":
            return Answer(accepted=answer["duplicate"])
        case "children":
            held = {True: " held", False: ""}
            labels = [f"{run['title']}{held[run['available_at'] is None]}" for run in answer["data"]]
            return Answer(log=tuple(labels))
        case "get":
            return Answer(_seen(answer))
        case "events":
            return Answer(log=_log(answer))
    raise AssertionError(kind)


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
        name = event["payload"]["value"] if event["event_type"] == "CUSTOM" else event["event_type"]
        if isinstance(name, dict):
            name = f"{name['result']} for {name['tool_call_id']}"  # the event of a signal
        found.append(name if event["event_id"] == place else f"{name} as event {event['event_id']}")
    return tuple(found)
