"""Who resumed and cancelled a run, as its page shows it."""

from typing import Any, Final, NamedTuple

import msgspec

from runstead.core.audit import AuditEntry

_RESUMES: Final = {
    "approval": "Answered",
    "input": "Form submitted",
    "tool_result": "Tool result sent",
    "event": "Event sent",
    "unpause": "Resumed",
}


class Decision(NamedTuple):
    """`what` is a verb such as `Approved`, `name` is the actor. `at` in ms."""

    what: str
    name: str
    at: int


def decision(entry: AuditEntry) -> Decision:
    """The decision of an entry `run.resume` or `run.cancel`."""
    what = "Cancelled" if entry.action == "run.cancel" else _resume(entry.change)
    kind = entry.actor_kind.replace("_", " ").replace("api", "API")
    return Decision(what, entry.actor_name or f"{kind} {entry.actor_id}", entry.at)


def _resume(change: bytes | None) -> str:
    after: dict[str, Any] = msgspec.json.decode(change or b"{}").get("after", {})
    if (approved := after.get("approved")) is not None:
        return "Approved" if approved else "Rejected"
    if after.get("type") == "input" and after.get("is_error"):
        return "Form cancelled"
    return _RESUMES.get(str(after.get("type")), "Resumed")
