"""Complete and cancel a run."""

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs.artifact import with_notes
from runstead.core.runs.run import Run, RunError, RunStatus, TerminalStatus
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions.machine import Fence, end, stopped


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The values of a completion. JSON members are JSON text; None leaves a value of the run unchanged."""

    status: TerminalStatus
    metadata: bytes | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_detail: bytes | None = None
    output: bytes | None = None
    logs: str | None = None
    artifacts: bytes | None = None
    exit_code: int | None = None


def complete(run: Run, *, now: int, completion: Completion, fence: Fence) -> Transition:
    """End the run.

    Only the first completion counts; for a later one `accepted` is whether its status agrees.
    """
    fence.check(run)
    wanted = completion.status
    message, code = completion.error_message, completion.error_code
    output = completion.output
    if output is not None and len(output) > limits.output_bytes_max:
        wanted, output = "failed", None
        code = "OUTPUT_TOO_LARGE"
        message = f"The output is larger than {limits.output_bytes_max} bytes; store it as an artifact"
    if run.terminal:
        agrees = run.status.value in (completion.status, wanted)
        if fence.given and run.lease_expires_at is not None:
            return replace(stopped(run, now), accepted=agrees)
        return Transition(run, accepted=agrees)
    error: RunError | None = None
    if message is not None or code is not None:
        detail = msgspec.Raw(completion.error_detail) if completion.error_detail is not None else None
        error = RunError(message if message is not None else str(code), code, detail)
    elif wanted == "failed":
        detail = msgspec.Raw(completion.error_detail) if completion.error_detail is not None else None
        error = RunError("Run failed", None, detail)
    given = {
        "metadata": completion.metadata,
        "output": output,
        "logs": completion.logs,
        "artifacts": with_notes(run.artifacts, completion.artifacts),
        "exit_code": completion.exit_code,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    return end(run, now, RunStatus(wanted), error, **changes, lease_expires_at=None)


def cancel(run: Run, *, now: int, reason: str | None, error: RunError | None = None) -> Transition:
    """Cancel the run and every descendant that has not ended.

    `error` is given when the server itself cancels.
    """
    if run.terminal:
        return Transition(run, accepted=False)
    # A worker may still work on it. The lease stays: its end is the time by which the worker must have
    # stopped.
    held = run.lease_expires_at is not None
    # A push service may still work on a run without a lease: the dispatcher stops it and then sets
    # `cancel_stopped_at`.
    pushed = run.push_service_id is not None and run.attempt > 0
    stopped_at = None if held or pushed else now
    return end(
        run,
        now,
        RunStatus.CANCELLED,
        error or RunError("Run cancelled", "CANCELLED"),
        cancel_requested_at=now,
        cancel_reason=reason,
        cancel_stopped_at=stopped_at,
    )
