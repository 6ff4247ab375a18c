"""The form that starts a run: its fields as a request of the API, and each error back at its field."""

import json
import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.commands.create import NewRun
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import AgentDetails, Run
from runstead.http.create_bodies import CreateRun, new_run
from runstead.http.framework.body import decode_body
from runstead.web.framework.form import Fields
from runstead.web.runs.filters import KINDS

Values = dict[str, str]

BLANK: Final[Values] = {
    "target": "",
    "title": "",
    "conversation_id": "",
    "input": "",
    "config": "",
    "priority": "0",
    "available_at": "",
    "timeout_seconds": "",
    "backoff_limit": "",
    "labels": "",
    "like": "",
}
_NUMBERS: Final = {
    "priority": f"A whole number, from {limits.priority_min} to {limits.priority_max}",
    "timeout_seconds": f"A whole number of seconds, from 1 to {limits.timeout_s_max:,}, or empty",
    "backoff_limit": f"A whole number, from 0 to {limits.backoff_limit_max:,}, or empty",
}
_EXPECTED: Final = _NUMBERS | {
    "title": f"A title has at most {limits.name_chars_max} characters",
    "target": f"Write the kind and the name, such as task:report. Kinds are {', '.join(KINDS)}",
    "conversation_id": "Write the UUID of a conversation, or leave it empty for a new one",
    "available_at": "Write a time such as 2026-03-20T12:00, from the year 1970 on",
    "labels": f"Write one label a line, such as customer:acme; at most {limits.labels_max}, names of at most"
    f" {limits.label_key_chars_max} characters",
}
#: Members of a request whose field has another name.
_FIELDS: Final = {
    "owner.id": "conversation_id",
    "agent_id": "target",
    "workflow_id": "target",
    "name": "title",
}
#: The form has no fields for these members. A run with the same target as `like` gets them from that run.
_KEPT: Final = {
    "agent": ("implementation_kind", "worker_key"),
    "workflow": ("workflow_id", "start_mode"),
    "task": ("start_mode",),
    "eval": ("start_mode",),
}
_KEPT_OF_ALL: Final = ("runtime_target_kind", "runtime_target_environment_id", "runtime_target_branch_id")
_INTEGER: Final = re.compile("-?[0-9]{1,18}")
_NO_CONVERSATION: Final = "00000000-0000-4000-8000-000000000000"


def submitted(fields: Fields) -> Values:
    """The values that were sent; a missing field is empty or has its default."""
    return {name: fields.one(name, default).replace("\0", "") for name, default in BLANK.items()}


def values_of(run: Run) -> Values:
    """The values of a form that starts the run again."""
    labels = msgspec.json.decode(run.labels or b"{}", type=dict[str, str])
    return BLANK | {
        "target": run.target or f"{run.kind}:",
        "title": run.title or "",
        "conversation_id": run.conversation_id or "",
        "input": _indented(run.request_snapshot if run.kind == "agent" else run.input),
        "config": _indented(run.config),
        "priority": str(run.shown_priority),
        "timeout_seconds": _text(run.timeout_seconds),
        "backoff_limit": _text(run.backoff_limit),
        "labels": "\n".join(f"{name}:{value}" for name, value in labels.items()),
        "like": run.run_id,
    }


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


def _indented(value: bytes | None) -> str:
    return "" if value is None else msgspec.json.format(value, indent=2).decode()


def new(values: Values, project_id: str, like: Run | None) -> tuple[NewRun, bool]:
    """The run that the form describes, and whether it needs a new conversation.

    Raises INVALID_REQUEST with every invalid field.
    """
    errors: list[tuple[str, str]] = []
    kind, _, name = values["target"].partition(":")
    if kind not in KINDS or not name:
        raise _refused([("$.target", _EXPECTED["target"])])
    request: dict[str, Any] = {"target": values["target"]}
    if kind == "agent":
        request["agent_id"] = name
        if values["config"]:
            errors.append(("$.config", "A run of kind agent has no config: leave it empty"))
    if like is not None and like.target == values["target"]:
        request |= _kept(like)
    for member in ("input", "config"):
        if values[member]:
            try:
                request[member] = _json(values[member])
            except ValueError as error:
                errors.append((f"$.{member}", str(error)))
    numbers: dict[str, Any] = {}
    for member, expected in _NUMBERS.items():
        if _INTEGER.fullmatch(values[member]):
            numbers[member] = int(values[member])
        elif values[member]:
            errors.append((f"$.{member}", expected))
    request |= {
        member: numbers[member] for member in ("timeout_seconds", "backoff_limit") if member in numbers
    }
    body: dict[str, Any] = {"kind": kind, "priority": numbers.get("priority", 0)}
    body["owner"] = {"kind": "project", "id": project_id}
    if kind == "agent":
        body["owner"] = {"kind": "conversation", "id": values["conversation_id"] or _NO_CONVERSATION}
    if values["title"]:
        body["title"] = values["title"]
    for member, parse in (("available_at", _moment), ("labels", _labels)):
        try:
            body[member] = parse(values[member])
        except ValueError:
            errors.append((f"$.{member}", _EXPECTED[member]))
    if errors:
        raise _refused(errors)
    made = new_run(decode_body(msgspec.json.encode(body | {"request": request}), CreateRun))
    return replace(made, trigger_kind="manual"), kind == "agent" and not values["conversation_id"]


def _moment(text: str) -> str | None:
    """A time of a field, in UTC unless it has a zone. ValueError."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def _labels(text: str) -> dict[str, str] | None:
    """The labels of a field with one a line. ValueError."""
    pairs = [line.split(":", 1) for line in text.splitlines() if line.strip()]
    return {name.strip(): value.strip() for name, value in pairs} or None


def _kept(like: Run) -> dict[str, Any]:
    members = {name: getattr(like, name) for name in (*_KEPT[like.kind], *_KEPT_OF_ALL)}
    if like.kind == "agent":
        details = msgspec.json.decode(like.agent or b"{}", type=AgentDetails)
        members |= {name: value for name, value in msgspec.structs.asdict(details).items() if name in _SOURCE}
    return {name: value for name, value in members.items() if value is not None}


_SOURCE: Final = ("mode", *(name for name in AgentDetails.__struct_fields__ if name.startswith("source_")))


def _json(text: str) -> msgspec.Raw:
    """The JSON of a field as it was written. ValueError with the place of the first error."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        try:
            json.loads(text)
        except json.JSONDecodeError as known:
            where = f"line {known.lineno}, column {known.colno}"
            raise ValueError(f"Not JSON: {known.msg} at {where}. Text needs double quotes") from None
        except RecursionError:
            pass
        raise ValueError(f"Not JSON: {error}") from None
    return msgspec.Raw(text.encode("utf-8", "surrogatepass"))


def _refused(errors: list[tuple[str, str]]) -> Error:
    return Error("INVALID_REQUEST", errors[0][1], errors=tuple(errors))


def by_field(refusal: Error) -> dict[str, str]:
    """Error messages by field; under "" the message that belongs to no field and is shown above the form."""
    found: dict[str, str] = {}
    for path, message in refusal.errors:
        member = path.removeprefix("$").removeprefix(".").removeprefix("request.")
        name = _FIELDS.get(member, re.split(r"[.\[]", member)[0])
        generic = message.startswith(("Expected", "Invalid", "must begin", "must be a conversation"))
        found.setdefault(
            name if name in BLANK else "", _EXPECTED.get(name, refusal.message) if generic else message
        )
    return found or {"": refusal.message}
