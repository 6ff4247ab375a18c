"""The values in the head of a run's page: errors, attempts, artifacts, and what the run waits for."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from runstead.commands import events, inputs
from runstead.commands.runs import RunRef
from runstead.core.conversations.input_request import InputRequest
from runstead.core.errors import Error
from runstead.core.runs.artifact import KEY_MEMBER, decode_artifacts, is_hidden
from runstead.core.runs.event import CUSTOM, Event, members_of
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.values import Progress
from runstead.web.framework.request import PageRequest
from runstead.web.framework.text import cut, pretty
from runstead.web.runs.tracebacks import Piece, pieces

VALUES: Final = ("input", "config", "output", "metadata")
#: Media types that are shown as images. They cannot contain scripts.
RASTER: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
_type_chars_max: Final = 128
_recent: Final = 100  # events that are searched for a question or a tool call


class _Error(msgspec.Struct):
    """An error in its stored form. A worker that releases a run may send any other JSON."""

    message: str
    code: str | None = None
    detail: msgspec.Raw = msgspec.Raw(b"")


class _Raised(msgspec.Struct):
    """The detail of an exception that a handler of the Python SDK raised."""

    traceback: str
    type: str = ""


_error = msgspec.json.Decoder(_Error).decode
_raised = msgspec.json.Decoder(_Raised).decode
_progress = msgspec.json.Decoder(Progress).decode


class Failure(NamedTuple):
    """`detail` is the traceback, then split into `pieces`, or JSON. `type` is the class of the exception."""

    message: str
    code: str | None
    detail: str
    type: str = ""
    pieces: Sequence[Piece] = ()

    @property
    def summary(self) -> str:
        """The message after the type of the exception, or after the error code."""
        return ": ".join(one for one in (self.type or self.code, self.message) if one)


def failure(error: bytes | None) -> Failure | None:
    """The error of a run or of an attempt, decoded for display."""
    if error is None:
        return None
    try:
        found = _error(error)
    except msgspec.DecodeError:
        return Failure(pretty(error), None, "")
    message, detail = cut(found.message), bytes(found.detail)
    if detail in (b"", b"null"):
        return Failure(message, found.code, "")
    try:
        raised = _raised(detail)
    except msgspec.DecodeError:
        return Failure(message, found.code, pretty(detail))
    traceback = cut(raised.traceback)
    type_ = raised.type[:_type_chars_max]
    return Failure(message, found.code, traceback, type=type_, pieces=pieces(traceback))


def error_summary(run: Run) -> str | None:
    """The error of a failed run in one line: the type of the exception and its message."""
    found = failure(run.error) if run.status is RunStatus.FAILED else None
    return None if found is None else found.summary


class Artifact(NamedTuple):
    """An artifact. `stored`: the server has its content; `is_image`: it can be shown as an image."""

    name: str
    media_type: str
    size: int | None
    sha256: str
    uri: str
    stored: bool
    is_image: bool


def artifacts(run: Run) -> list[Artifact]:
    """The run's artifacts, in order."""
    found = []
    for one in decode_artifacts(run.artifacts):
        if is_hidden(one):
            continue
        stored, kind = KEY_MEMBER in one, str(one.get("media_type") or "")
        size = one.get("size")
        found.append(
            Artifact(
                name=str(one.get("name")),
                media_type=kind,
                size=size if isinstance(size, int) else None,
                sha256=str(one.get("sha256") or ""),
                uri=str(one.get("uri") or ""),
                stored=stored,
                is_image=stored and kind.partition(";")[0].strip().lower() in RASTER,
            )
        )
    return found


def labels(run: Run) -> dict[str, str]:
    found: dict[str, str] = {} if run.labels is None else msgspec.json.decode(run.labels)
    return found


def situation(run: Run, now: int, *, unserved: bool = False) -> str:
    """What the run waits for, in one sentence; empty if its status is enough. `unserved`: no worker serves its target."""
    if run.status is RunStatus.PENDING:
        if unserved:
            return f"In the queue, but no online worker serves {run.target}: start one."
        return _queue(run, now)
    if run.status is not RunStatus.WAITING:
        return ""
    if run.paused:
        return "Paused until it is resumed."
    if run.waiting_input_id is not None:
        return "Waiting for a response to its form."
    if run.waiting_run_id is not None:
        return "Waiting for a child run to end."
    match run.waiting_reason:
        case "approval":
            return "Waiting for an approval."
        case "tool":
            return "Waiting for the result of a tool call."
        case "input":
            return "Waiting for input."
    if run.blocked is not None:
        return "Blocked: its code does not fit its log."
    name = run.waiting_tool_name or ""
    if name in ("sleep", "retry"):
        return "Sleeping." if name == "sleep" else "Failed. Waiting for its next retry."
    return "Waiting for an event."


def _queue(run: Run, now: int) -> str:
    if not run.queued:
        return "Not started: its creator executes it without the queue."
    if run.held:
        return "Waiting for the end of the compensation before it."
    lost = f"Attempt {run.attempt} was lost. " if run.attempts_lost else ""
    if run.claimable_at is not None and run.claimable_at > now:
        return f"{lost}Delayed: not available to workers yet."
    if run.pinned_to is not None:
        return f"{lost}In the queue of workers of version {run.pinned_to}: not claimed yet."
    return f"{lost}In the queue: not claimed yet."


class Question(NamedTuple):
    """What the run asks. `arguments` are those of the tool call that needs a result or an approval."""

    question: str = ""
    arguments: str = ""
    input_request: InputRequest | None = None


def progress(run: Run) -> Progress | None:
    """How far a run is that has not ended."""
    return None if run.progress is None or run.terminal else _progress(run.progress)


class RecentEvents:
    """The run's open question, from its latest events."""

    def __init__(self) -> None:
        self._questions: dict[str, str] = {}

    def add(self, event: Event) -> None:
        if event.type != CUSTOM:
            return
        payload = members_of(event) or {}
        name, value = payload.get("name"), payload.get("value")
        if not isinstance(value, dict):
            return
        if name == "run.asked" and isinstance(value.get("tool_call_id"), str):
            text = value.get("question") or value.get("event")
            self._questions = {value["tool_call_id"]: str(text or "")}

    async def read(self, request: PageRequest, named: RunRef, run: Run) -> None:
        """Read the latest events of a run that has not ended."""
        if run.terminal or run.latest_event_id == 0:
            return
        _, found = await events.before(*request.caller, named, run.latest_event_id + 1, _recent, (CUSTOM,))
        for event in found:
            self.add(event)

    async def question(self, request: PageRequest, named: RunRef, run: Run) -> Question:
        """The question that the run waits for, empty if there is none."""
        if run.status is not RunStatus.WAITING or run.paused:
            return Question()
        if run.waiting_input_id is not None and run.conversation_id is not None:
            try:
                found = await inputs.get(*request.caller, run.conversation_id, run.waiting_input_id)
            except Error:  # answered or deleted meanwhile
                return Question()
            return Question(input_request=found) if found.status == "open" else Question()
        question = self._questions.get(run.waiting_tool_call_id or "", "")
        arguments = ""
        if run.waiting_reason in ("tool", "approval") and run.waiting_tool_call_id is not None:
            arguments = await _arguments(request, named, run)
        return Question(question, arguments)


async def _arguments(request: PageRequest, named: RunRef, run: Run) -> str:
    types = ("TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_CHUNK")
    _, found = await events.before(*request.caller, named, run.latest_event_id + 1, _recent, types)
    text = ""
    for event in found:
        payload = members_of(event) or {}
        if payload.get("toolCallId") == run.waiting_tool_call_id:
            delta = payload.get("delta")
            text = "" if event.type == "TOOL_CALL_START" else text + (delta if isinstance(delta, str) else "")
    return pretty(text.encode("utf-8", "replace")) if text else ""
