"""Labels of events. A history names each event of a log by a text that no other event of the run has.

Clients append notes (any other text), `step 3: text` and `usage text`. The server writes `text for wait:3`, the result of
a wait that is step 3, and `from step 3 of run-1 at 7`, where a retry goes on. Other events have their type as label.
"""

import re

STEP, USAGE = "step ", "usage "
FAILED = "failed"
_STEP = re.compile(r"step (\d+): |.+ for wait:(\d+)$")
_MARK = re.compile(r"from step \d+ of ")


def body_of(label: str) -> dict:
    """Return the event to append. Steps and usage need the lease token."""
    if label.startswith(STEP):
        return {"type": "STEP_FINISHED", "stepId": str(step_of(label)), "stepName": "work", "result": label}
    if label.startswith(USAGE):
        usage = {"id": label, "provider": "acme", "model": "m", "inputTokens": 1, "outputTokens": 0}
        return {"type": "CUSTOM", "name": "run.usage", "value": usage}
    return {"type": "CUSTOM", "name": "note", "value": label}


def label_of(event: dict) -> str:
    """Return the label of an event of a log."""
    payload, value = event["payload"], event["payload"].get("value")
    match payload.get("name"):
        case "note":
            return value
        case "run.usage":
            return value["id"]
        case "run.resumed":
            result = value["result"]
            return f"{result['id'] if isinstance(result, dict) else result} for {value['tool_call_id']}"
        case "run.retry_from":
            return mark(value)
    return payload["result"] if event["event_type"] == "STEP_FINISHED" else event["event_type"]


def mark(retry_from: dict) -> str:
    return f"from step {retry_from['step_id']} of {retry_from['run_id']} at {retry_from['event_id']}"


def step_of(label: str) -> int | None:
    """Return the number of the step that has its result in this event."""
    found = _STEP.match(label)
    return int(found[1] or found[2]) if found else None


def reports(log: tuple[str, ...]) -> int:
    """Return how many tokens the events of a log report: one each."""
    return sum(label.startswith(USAGE) for label in log)


def kept(log: tuple[str, ...], run_id: str, step: str, *, completed: bool) -> tuple[str, ...] | None:
    """Return the log with which a retry from a step begins, () if the run has no steps. None: it has no such step.

    Every step here is stored with its result, so `failed` is the number after the last one.
    """
    steps = [step_of(label) for label in log]
    known = [number for number in steps if number is not None]
    if step == FAILED and not completed:
        if not known:
            return ()
        first, shared = max(known) + 1, len(log)
    elif step != FAILED and int(step) in known:
        first, shared = int(step), steps.index(int(step))
    else:
        return None
    results = [
        label
        for label, number in zip(log, steps, strict=True)
        if _MARK.match(label) or (number is not None and number < first)
    ]
    return (*results, mark({"step_id": first, "run_id": run_id, "event_id": shared}))
