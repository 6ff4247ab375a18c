"""What the head of a run's page tells: how it stands, why, and what it is part of. Pure, but for the reading of what is asked."""

from typing import Final, NamedTuple

import msgspec

from runstead.commands import events, inputs
from runstead.commands.runs import Named
from runstead.core.conversations.input_request import InputRequest
from runstead.core.errors import Error
from runstead.core.runs.artifact import KEY_MEMBER, told
from runstead.core.runs.event import CUSTOM, Event, members_of
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import EndedAttempt, attempts_of
from runstead.web.framework.request import Visit
from runstead.web.framework.text import cut, pretty

VALUES: Final = ("input", "config", "output", "metadata")
#: What a browser shows as a picture, and nothing else: these hold no scripts.
RASTER: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
_recent: Final = 100  # events among which a question is looked for


class _Error(msgspec.Struct):
    """As a run stores it. What a worker tells when it lets go of one may be any JSON."""

    message: str
    code: str | None = None
    detail: msgspec.Raw = msgspec.Raw(b"")


_error = msgspec.json.Decoder(_Error).decode


class Failure(NamedTuple):
    message: str
    code: str | None
    detail: str


def failure(error: bytes | None) -> Failure | None:
    """An error as its run, or its attempt, tells it."""
    if error is None:
        return None
    try:
        found = _error(error)
    except msgspec.DecodeError:
        return Failure(pretty(error), None, "")
    detail = bytes(found.detail)
    return Failure(cut(found.message), found.code, pretty(detail) if detail not in (b"", b"null") else "")


class Try(NamedTuple):
    """An attempt: `outcome` is `running` for one that is under way."""

    attempt: int
    owner: str | None
    started_at: int | None
    ended_at: int | None
    outcome: str
    error: Failure | None


def tries(run: Run, ended: list[EndedAttempt]) -> list[Try]:
    """Every attempt, oldest first."""
    return [
        Try(one.attempt, one.lease_owner, one.started_at, one.ended_at, one.outcome, failure(one.error))
        for one in attempts_of(run, ended)
    ]


class Artifact(NamedTuple):
    """`kept`: its bytes are here; `picture`: they may be shown."""

    name: str
    media_type: str
    size: int | None
    sha256: str
    uri: str
    kept: bool
    picture: bool


def artifacts(run: Run) -> list[Artifact]:
    found = []
    for one in told(run.artifacts):
        kept, kind = KEY_MEMBER in one, str(one.get("media_type") or "")
        size = one.get("size")
        found.append(
            Artifact(
                str(one.get("name")),
                kind,
                size if isinstance(size, int) else None,
                str(one.get("sha256") or ""),
                str(one.get("uri") or ""),
                kept,
                kept and kind.partition(";")[0].strip().lower() in RASTER,
            )
        )
    return found


def labels(run: Run) -> dict[str, str]:
    found: dict[str, str] = {} if run.labels is None else msgspec.json.decode(run.labels)
    return found


def situation(run: Run, now: int) -> str:
    """What it is waiting for, in a sentence; empty where its status says it all."""
    if run.status is RunStatus.PENDING:
        return _queue(run, now)
    if run.status is not RunStatus.WAITING:
        return ""
    if run.paused:
        return "Paused: it goes on once somebody lets it."
    if run.waiting_input_id is not None:
        return "Waiting for somebody to fill in a form."
    if run.waiting_run_id is not None:
        return "Waiting for a run below it to end."
    match run.waiting_reason:
        case "approval":
            return "Waiting for an approval."
        case "tool":
            return "Waiting for the result of a tool call."
        case "input":
            return "Waiting for input."
    name = run.waiting_tool_name or ""
    if name in ("sleep", "retry"):
        return "Sleeping." if name == "sleep" else "It failed, and waits for its next try."
    return "Waiting for an event."


def _queue(run: Run, now: int) -> str:
    if not run.queued:
        return "Not begun: whoever made it drives it."
    again = f"Attempt {run.attempt} was lost. " if run.attempts_lost else ""
    if run.available_at is not None and run.available_at > now:
        return f"{again}It may be taken up later."
    return f"{again}In the queue: no worker has taken it up yet."


class Asked(NamedTuple):
    """What somebody may answer. `arguments` are those of the tool call that is to be answered, or approved."""

    question: str = ""
    arguments: str = ""
    request: InputRequest | None = None


class Recent:
    """What the last events tell of where the run is: its progress, and what it asks."""

    def __init__(self) -> None:
        self.fraction: float | None = None
        self.message = ""
        self._questions: dict[str, str] = {}

    def take(self, event: Event) -> None:
        if event.type != CUSTOM:
            return
        told = members_of(event)
        if told is None:
            return
        name, value = told.get("name"), told.get("value")
        if not isinstance(value, dict):
            return
        if name == "run.progress":
            fraction, message = value.get("fraction"), value.get("message")
            if isinstance(fraction, int | float):
                self.fraction = min(max(float(fraction), 0.0), 1.0)
            self.message = message if isinstance(message, str) else ""
        elif name == "run.asked" and isinstance(value.get("tool_call_id"), str):
            asked = value.get("question") or value.get("event")
            self._questions = {value["tool_call_id"]: str(asked or "")}

    async def read(self, visit: Visit, named: Named, run: Run) -> None:
        """The events up to the run's latest; none are read of one that has ended."""
        if run.terminal or run.latest_event_id == 0:
            return
        _, found = await events.before(
            visit.app, visit.principal, named, run.latest_event_id + 1, _recent, (CUSTOM,)
        )
        for event in found:
            self.take(event)

    async def asked(self, visit: Visit, named: Named, run: Run) -> Asked:
        """What the run waits for somebody to answer."""
        if run.status is not RunStatus.WAITING or run.paused:
            return Asked()
        if run.waiting_input_id is not None and run.conversation_id is not None:
            try:
                found = await inputs.get(
                    visit.app, visit.principal, run.conversation_id, run.waiting_input_id
                )
            except Error:  # answered, or gone, meanwhile
                return Asked()
            return Asked(request=found) if found.status == "open" else Asked()
        question = self._questions.get(run.waiting_tool_call_id or "", "")
        arguments = ""
        if run.waiting_reason in ("tool", "approval") and run.waiting_tool_call_id is not None:
            arguments = await _arguments(visit, named, run)
        return Asked(question, arguments)


async def _arguments(visit: Visit, named: Named, run: Run) -> str:
    types = ("TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_CHUNK")
    _, found = await events.before(visit.app, visit.principal, named, run.latest_event_id + 1, _recent, types)
    text = ""
    for event in found:
        told = members_of(event)
        if told is None:
            continue
        if told.get("toolCallId") == run.waiting_tool_call_id:
            delta = told.get("delta")
            text = "" if event.type == "TOOL_CALL_START" else text + (delta if isinstance(delta, str) else "")
    return pretty(text.encode("utf-8", "replace")) if text else ""
