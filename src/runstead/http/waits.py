"""Waits of a run, resumes, and heartbeats of an attempt."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from runstead.commands import runs as commands, waits as waiting
from runstead.core import limits
from runstead.core.errors import invalid_at
from runstead.core.runs.event_match import Match, check_match
from runstead.core.runs.signal import AwaitedEvent, Signal, SignalName
from runstead.http.answers import answer_of
from runstead.http.arguments import from_body, on_run
from runstead.http.framework.endpoint import Call, Reply, Routes
from runstead.http.framework.values import LeaseSeconds, Moment, Name, Positive, RunId, ToolCallId, moment_ms
from runstead.http.framework.views import Json
from runstead.http.run_view import RunView, run_view
from runstead.http.runs import WRITE, InProject, fence
from runstead.ports.store import Written

routes = Routes("Runs")


class ResumeRun(msgspec.Struct, frozen=True, kw_only=True):
    """The result that a waiting run gets. `result` is any JSON value.

    `tool_result` needs a `tool_call_id`. An `approval` without one answers the run's only open approval; 409
    TOOL_RESULT_CONFLICT lists them where several are open. Only `unpause` resumes a paused run.
    """

    type: Literal["tool_result", "approval", "event", "input", "timer", "unpause"]
    tool_call_id: ToolCallId | None = None
    result: Any = None
    is_error: bool = False


class Resumed(msgspec.Struct, frozen=True, omit_defaults=True):
    accepted: bool
    duplicate: bool = False


@routes.route(
    "POST",
    "/runs/{run_id}/resume",
    body=ResumeRun,
    query=InProject,
    answer=Resumed,
    errors=(*WRITE, "TOOL_RESULT_NOT_WAITING", "TOOL_RESULT_CONFLICT", "RUN_NOT_ACTIVE", "EVENT_LOG_FULL"),
)
async def resume(call: Call[ResumeRun, InProject]) -> Reply:
    """Resume a waiting run. A repeat with the same result answers `duplicate: true`."""
    body = call.body
    if body.type == "tool_result" and body.tool_call_id is None:
        raise invalid_at("$.tool_call_id", "missing", "A tool_result needs a tool_call_id")
    request = from_body(commands.Resume, body)

    def answer(written: Written) -> Reply:
        duplicate = {"duplicate": True} if written.transition.duplicate else {}
        return Reply(200, {"accepted": True, **duplicate})

    return await call.idempotent(lambda record: commands.resume(*on_run(call), request, record), answer)


class OpenEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that the run awaits: a signal of this name resumes it, as the result of the call. So does an event of the
    project's bus whose data has the values of `match`.
    """

    name: SignalName
    tool_call_id: ToolCallId
    match: Match | None = None


class WantedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The name of an event, and the values in its data by which it is chosen: {dotted path: value}, all equal."""

    name: SignalName
    match: Match | None = None


class WaitRun(msgspec.Struct, frozen=True, kw_only=True):
    """A wait to begin. At `resume_at` the run resumes; at `expires_at` it fails (WAIT_EXPIRED).

    With `awaited_run_id`, the id of a child, the run resumes when the child has ended; if it has already
    ended, the run does not wait. `open_approvals` names all approvals that the run has open, each of which a resume of
    the type `approval` answers. A signal of the name of `event`, or of one of `open_events`, resumes the run; if one has
    been kept for the run, the run takes it and does not wait. An event of the project's bus resumes it if its data
    matches. The worker keeps its lease during the wait; with `release: true`, its
    attempt ends with this call.
    """

    reason: Literal["tool", "approval", "event", "input"]
    tool_call_id: ToolCallId | None = None
    tool_name: Name | None = None
    resume_at: Moment | None = None
    expires_at: Moment | None = None
    awaited_run_id: RunId | None = None
    open_approvals: Annotated[list[ToolCallId], Meta(max_length=limits.open_approvals_max)] = []
    event: WantedEvent | None = None
    open_events: Annotated[list[OpenEvent], Meta(max_length=limits.open_events_max)] = []
    release: bool = False
    attempt: Positive | None = None


RunAnswer = answer_of("RunAnswer", run=RunView)


def run_answer(written: Written) -> Reply:
    return Reply(200, RunAnswer(run_view(written.run)))


class TakenSignal(msgspec.Struct, frozen=True):
    id: str
    name: str
    payload: Json


class WaitAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run. `signal`: the kept signal that it took in place of the wait."""

    run: RunView
    signal: TakenSignal | None = None


@routes.route(
    "POST",
    "/runs/{run_id}/wait",
    body=WaitRun,
    query=InProject,
    answer=WaitAnswer,
    errors=(*WRITE, "RUN_NOT_ACTIVE", "RUN_ALREADY_WAITING", "EVENT_LOG_FULL"),
)
async def wait(call: Call[WaitRun, InProject]) -> Reply:
    """Let a run wait until a resume. It cannot be claimed meanwhile."""
    body = call.body
    new = from_body(
        waiting.Wait,
        body,
        resume_at=moment_ms("resume_at", body.resume_at),
        expires_at=moment_ms("expires_at", body.expires_at),
        approvals=tuple(body.open_approvals),
        events=_awaited(body),
    )
    proof = fence(call, body.attempt)
    return await call.idempotent(
        lambda record: waiting.wait(*on_run(call), new, proof, record),
        lambda written: Reply(200, WaitAnswer(run_view(written.run), _taken(written.transition.signal))),
    )


def _awaited(body: WaitRun) -> tuple[AwaitedEvent, ...]:
    """Raises INVALID_REQUEST for a value to match that is too long."""
    found = []
    if body.event is not None:
        check_match("$.event.match", body.event.match)
        found.append(AwaitedEvent(body.event.name, body.tool_call_id, body.event.match or None))
    for at, each in enumerate(body.open_events):
        check_match(f"$.open_events[{at}].match", each.match)
        found.append(AwaitedEvent(each.name, each.tool_call_id, each.match or None))
    return tuple(found)


def _taken(signal: Signal | None) -> TakenSignal | None:
    return None if signal is None else TakenSignal(signal.id, signal.name, msgspec.Raw(signal.payload))


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    attempt: Positive
    lease_duration_seconds: LeaseSeconds | None = None


@routes.route(
    "POST", "/runs/{run_id}/heartbeats", body=Heartbeat, query=InProject, answer=RunAnswer, errors=WRITE
)
async def heartbeat(call: Call[Heartbeat, InProject]) -> Reply:
    """Renew the lease of the current attempt. On 409 ATTEMPT_SUPERSEDED, the worker must stop."""
    proof, lease_s = fence(call, call.body.attempt), call.body.lease_duration_seconds
    return await call.idempotent(
        lambda record: commands.heartbeat(*on_run(call), lease_s, proof, record), run_answer
    )
