"""Letting a run wait, bringing what it waits for, and keeping the lease of an attempt."""

from typing import Any, Literal

import msgspec

from runstead.commands import runs as commands, waits as waiting
from runstead.core.errors import Error
from runstead.http.framework.endpoint import Call, Reply, Routes
from runstead.http.framework.values import LeaseSeconds, Moment, Name, Positive, RunId, ToolCallId, moment_ms
from runstead.http.run_view import RunView, run_view
from runstead.http.runs import WRITE, InProject, fence, run_ref
from runstead.ports.store import Written

routes = Routes("Runs")


class ResumeRun(msgspec.Struct, frozen=True, kw_only=True):
    """What the run waits for. `tool_result` needs a `tool_call_id`; `result` is any JSON value. `unpause` alone lets a
    paused run go on.
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
    """Resume a waiting run with what it waits for; the same result again answers `duplicate: true`."""
    body = call.body
    if body.type == "tool_result" and body.tool_call_id is None:
        raise Error(
            "INVALID_REQUEST", "A tool_result needs a tool_call_id", errors=(("$.tool_call_id", "missing"),)
        )
    what = commands.Resume(
        type=body.type, tool_call_id=body.tool_call_id, result=body.result, is_error=body.is_error
    )

    def answer(written: Written) -> Reply:
        duplicate = {"duplicate": True} if written.transition.duplicate else {}
        return Reply(200, {"accepted": True, **duplicate})

    return await call.idempotent(
        lambda idempotency: commands.resume(call.app, call.principal, run_ref(call), what, idempotency),
        answer,
    )


class WaitRun(msgspec.Struct, frozen=True, kw_only=True):
    """What the run waits for. At `resume_at` it goes on by itself; at `expires_at` it fails (WAIT_EXPIRED).

    With `awaited_run_id`, a run right below it, it goes on when that one has ended; where it has ended already, the run
    does not wait. A worker keeps its lease meanwhile; with `release: true` its attempt ends with this call.
    """

    reason: Literal["tool", "approval", "event", "input"]
    tool_call_id: ToolCallId | None = None
    tool_name: Name | None = None
    resume_at: Moment | None = None
    expires_at: Moment | None = None
    awaited_run_id: RunId | None = None
    release: bool = False
    attempt: Positive | None = None


class RunAnswer(msgspec.Struct, frozen=True):
    run: RunView


@routes.route(
    "POST",
    "/runs/{run_id}/wait",
    body=WaitRun,
    query=InProject,
    answer=RunAnswer,
    errors=(*WRITE, "RUN_NOT_ACTIVE", "RUN_ALREADY_WAITING"),
)
async def wait(call: Call[WaitRun, InProject]) -> Reply:
    """Let a run wait until a resume; nobody claims it meanwhile."""
    body = call.body
    what = waiting.Wait(
        reason=body.reason,
        tool_call_id=body.tool_call_id,
        tool_name=body.tool_name,
        resume_at=moment_ms("resume_at", body.resume_at),
        expires_at=moment_ms("expires_at", body.expires_at),
        awaited_run_id=body.awaited_run_id,
        release=body.release,
    )
    proof = fence(call, body.attempt)
    return await call.idempotent(
        lambda idempotency: waiting.wait(call.app, call.principal, run_ref(call), what, proof, idempotency),
        lambda written: Reply(200, RunAnswer(run_view(written.run))),
    )


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    attempt: Positive
    lease_duration_seconds: LeaseSeconds | None = None


@routes.route(
    "POST",
    "/runs/{run_id}/heartbeats",
    body=Heartbeat,
    query=InProject,
    answer=RunAnswer,
    errors=WRITE,
)
async def heartbeat(call: Call[Heartbeat, InProject]) -> Reply:
    """Renew the lease of the current attempt. 409 ATTEMPT_SUPERSEDED tells a worker to stop."""
    proof = fence(call, call.body.attempt)
    lease_s = call.body.lease_duration_seconds
    return await call.idempotent(
        lambda idempotency: commands.heartbeat(
            call.app, call.principal, run_ref(call), lease_s, proof, idempotency
        ),
        lambda written: Reply(200, RunAnswer(run_view(written.run))),
    )
