"""THE machine: every way in which a run's state changes, each a pure function to a `Transition`.

Times are ms. Randomness (tokens, dice) comes in as an argument, so every rule repeats exactly.
"""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead import event, limits
from runstead.clock import iso_or_none
from runstead.errors import Error
from runstead.retry import attempts_left, backoff_ms
from runstead.run import TERMINAL, Run, RunError, RunStatus, TerminalStatus, WaitingReason
from runstead.transition import AttemptOutcome, EndedAttempt, NewMessage, Receipt, Transition

encode = msgspec.json.Encoder().encode

PENDING, RUNNING, WAITING = RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING

#: Which states each state may turn into. The tests walk it; `rewrite` asserts it.
MOVES: Final = {
    PENDING: frozenset({RUNNING, WAITING}) | TERMINAL,
    RUNNING: frozenset({WAITING, PENDING}) | TERMINAL,
    WAITING: frozenset({RUNNING}) | TERMINAL,
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}


class Fence(msgspec.Struct, frozen=True):
    """What a worker's write may carry to prove that it still holds the run. Both None: no proof asked."""

    attempt: int | None = None
    token: str | None = None

    @property
    def given(self) -> bool:
        return self.attempt is not None or self.token is not None

    def check(self, run: Run) -> None:
        """Refuse a write of an attempt that has been ended or replaced."""
        if not self.given:
            return
        if (
            run.lease_token is None
            or (self.attempt is not None and self.attempt != run.attempt)
            or (self.token is not None and self.token != run.lease_token)
        ):
            raise Error(
                "ATTEMPT_SUPERSEDED",
                f"Attempt {self.attempt if self.attempt is not None else 'of this lease token'} is no longer "
                f"current: the run is {run.status.value} after {run.attempt} attempt(s)",
            )


NO_FENCE: Final = Fence()


def due_at(run: Run) -> int | None:
    """When the referee must look at the run again, None when no deadline runs."""
    times = [run.lease_expires_at] if run.lease_expires_at is not None else []
    if run.status is RUNNING and times and run.timeout_seconds is not None:
        assert run.attempt_started_at is not None
        times.append(run.attempt_started_at + run.timeout_seconds * 1000)
    elif run.status is WAITING:
        times += [at for at in (run.wait_expires_at, run.resume_at) if at is not None]
    return min(times, default=None)


def rewrite(run: Run, now: int, /, **changes: Any) -> Run:
    """The row with the changes, its version, its time and its next deadline."""
    status = changes.get("status", run.status)
    assert status is run.status or status in MOVES[run.status], (run.status, status)
    new = replace(run, version=run.version + 1, updated_at=max(now, run.updated_at), **changes)
    due = due_at(new)
    return new if due == new.due_at else replace(new, due_at=due)


_NO_LEASE: Final = {"lease_token": None, "lease_expires_at": None, "lease_ms": None}
_NO_WAIT: Final = {
    "waiting_reason": None,
    "waiting_tool_call_id": None,
    "waiting_tool_name": None,
    "wait_expires_at": None,
    "resume_at": None,
}


def create(
    run: Run, *, now: int, parent: Run | None, family_cancelled: bool, message: NewMessage | None
) -> Transition:
    """Store a run that does not exist yet. The caller has set its request; this sets its place and its times."""
    family: dict[str, Any] = {"root_run_id": run.run_id}
    if parent is not None:
        if family_cancelled:
            raise Error("PARENT_CANCELLED", "The parent run was cancelled and accepts no more children")
        path = f"{parent.path}{parent.seq}/"
        if path.count("/") > limits.family_depth_max:
            raise Error("FAMILY_TOO_DEEP", f"A run has at most {limits.family_depth_max - 1} runs above it")
        family = {
            "parent_seq": parent.seq,
            "parent_run_id": parent.run_id,
            "root_seq": parent.root_seq or parent.seq,
            "root_run_id": parent.root_run_id,
            "path": path,
        }
    running = run.status is RUNNING
    queued = run.kind != "agent" or run.implementation_kind is not None
    new = replace(
        run,
        created_at=now,
        updated_at=now,
        started_at=now if running else None,
        available_at=(now if run.available_at is None else max(now, run.available_at)) if queued else None,
        **family,
    )
    return Transition(new, message=message, family_total=1, family_active=1)


def start(run: Run, *, now: int, snapshot: bytes) -> Transition:
    """Give an agent run that waits for it its start payload. The first payload stays."""
    changes: dict[str, Any] = {"request_snapshot": snapshot} if run.request_snapshot is None else {}
    if run.status is PENDING and run.available_at is None:
        # No worker will claim it: whoever started it drives it.
        changes |= {"status": RUNNING, "started_at": now}
    if run.terminal or not changes:
        return Transition(run, duplicate=True)
    return Transition(rewrite(run, now, **changes), duplicate=True)


def claimable(run: Run, now: int) -> bool:
    """Not ended, not waiting, no live lease, due, and meant for a worker."""
    return (
        run.status in (PENDING, RUNNING)
        and run.lease_expires_at is None
        and run.available_at is not None
        and run.available_at <= now
    )


def claim(run: Run, *, now: int, worker: str, lease_ms: int, token: str) -> Transition:
    """Begin the next attempt. The caller holds the row's lock and has found it claimable."""
    assert claimable(run, now), run.run_id
    return Transition(
        rewrite(
            run,
            now,
            status=RUNNING,
            started_at=run.started_at if run.started_at is not None else now,
            available_at=None,
            attempt=run.attempt + 1,
            attempt_started_at=now,
            lease_owner=worker,
            lease_token=token,
            lease_ms=lease_ms,
            lease_expires_at=now + lease_ms,
            last_heartbeat_at=now,
        )
    )


def renew(run: Run, *, now: int, lease_ms: int | None, worker: str | None, fence: Fence) -> Transition:
    """Keep the lease for `lease_ms` more (None: as long as last time). `accepted` False: it is lost.

    A lease that is past its end, but that nobody has taken away, is still the worker's.
    """
    held = not run.terminal and run.lease_token is not None and (worker is None or worker == run.lease_owner)
    if not held:
        return Transition(run, accepted=False)
    fence.check(run)
    length = lease_ms or run.lease_ms
    assert length is not None
    return Transition(
        rewrite(run, now, lease_ms=length, lease_expires_at=now + length, last_heartbeat_at=now),
    )


def release(
    run: Run,
    *,
    now: int,
    worker: str | None,
    fence: Fence,
    error: bytes | None,
    retry_after_ms: int | None,
    dice: float,
) -> Transition:
    """End the attempt without a completion, by the worker's own will."""
    if run.lease_token is None or (worker is not None and worker != run.lease_owner):
        raise Error("ATTEMPT_SUPERSEDED", "The worker does not hold this run any more")
    fence.check(run)
    if run.terminal:
        return _stopped(run, now) if run.lease_expires_at is not None else Transition(run, accepted=False)
    if run.status is WAITING:
        return _park(run, now, error)
    return _lose(
        run, now, outcome="released", code="ATTEMPTS_EXHAUSTED", dice=dice, error=error, wait=retry_after_ms
    )


def wait(
    run: Run,
    *,
    now: int,
    reason: WaitingReason,
    tool_call_id: str | None,
    tool_name: str | None,
    resume_at: int | None,
    expires_at: int | None,
    fence: Fence,
    earlier: Receipt | None = None,
) -> Transition:
    """Hold the run until something comes from outside. A worker keeps its lease until it releases or loses it.

    `earlier` is the receipt of an answer that this call has got already, in an attempt before this one: the run then
    does not wait, since nobody would answer twice.
    """
    fence.check(run)
    if run.terminal:
        raise _not_active(run)
    if earlier is not None:
        return Transition(run, duplicate=True)
    if run.status is WAITING:
        if (run.waiting_reason, run.waiting_tool_call_id) == (reason, tool_call_id):
            return Transition(run, duplicate=True)
        raise Error("RUN_ALREADY_WAITING", f"The run already waits (reason {run.waiting_reason})")
    return Transition(
        rewrite(
            run,
            now,
            status=WAITING,
            available_at=None,
            waiting_reason=reason,
            waiting_tool_call_id=tool_call_id,
            waiting_tool_name=tool_name,
            resume_at=resume_at,
            wait_expires_at=expires_at,
        )
    )


#: What each type of resume answers.
RESUMES: Final[dict[str, WaitingReason]] = {
    "tool_result": "tool",
    "approval": "approval",
    "event": "event",
    "input": "input",
    "timer": "event",
}


def resume(
    run: Run,
    *,
    now: int,
    kind: str,
    tool_call_id: str | None,
    result: Any,
    is_error: bool,
    receipt: Receipt | None,
    earlier: Receipt | None,
) -> Transition:
    """Bring what a waiting run waits for. `earlier` is the receipt of an answer already given for this call."""
    if run.terminal:
        raise _not_active(run)
    if earlier is not None:
        if receipt is not None and earlier.digest == receipt.digest:
            return Transition(run, duplicate=True)
        raise Error("TOOL_RESULT_CONFLICT", f"Call {tool_call_id} was already answered with another result")
    if run.status is not WAITING:
        raise Error("TOOL_RESULT_NOT_WAITING", f"The run does not wait: it is {run.status.value}")
    if RESUMES[kind] != run.waiting_reason:
        raise Error(
            "TOOL_RESULT_CONFLICT",
            f"The run waits for reason {run.waiting_reason}; {kind} does not answer that",
        )
    if run.waiting_tool_call_id is not None and run.waiting_tool_call_id != tool_call_id:
        raise Error("TOOL_RESULT_CONFLICT", f"The run waits for the call {run.waiting_tool_call_id}")
    if _log_full(run):
        raise Error("EVENT_LOG_FULL", f"A run holds at most {limits.events_per_run_max} events")
    if kind == "tool_result":
        told = event.tool_result(tool_call_id, result, is_error=is_error)
    else:
        told = event.resumed(kind, tool_call_id, result, is_error=is_error)
    return Transition(_resumed(run, now), events=(told,), receipt=receipt)


def _log_full(run: Run) -> bool:
    """Whether only the place of the terminal event is left."""
    return run.latest_event_id >= limits.events_per_run_max - 1


def _resumed(run: Run, now: int) -> Run:
    held = run.lease_token is not None
    queued = run.kind != "agent" or run.implementation_kind is not None
    return rewrite(
        run,
        now,
        status=RUNNING,
        started_at=run.started_at if run.started_at is not None else now,
        available_at=now if queued and not held else None,
        # A timeout bounds work, not waiting: it starts anew.
        attempt_started_at=now if held else run.attempt_started_at,
        latest_event_id=run.latest_event_id + 1,
        **_NO_WAIT,
    )


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """What a completion brings. JSON members are JSON text; None leaves a value as it is."""

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
    """End the run. The first completion wins; a later one is told whether it agrees (`accepted`)."""
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
            return replace(_stopped(run, now), accepted=agrees)
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
        "artifacts": completion.artifacts,
        "exit_code": completion.exit_code,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    return _end(run, now, RunStatus(wanted), error, **changes, lease_expires_at=None)


def cancel(run: Run, *, now: int, reason: str | None) -> Transition:
    """Call the run off, with every descendant that has not ended."""
    if run.terminal:
        return Transition(run, accepted=False)
    # A worker may still be at it. Its lease stays as the time by which it must have stopped (`_stopped`).
    stopped_at = None if run.lease_expires_at is not None else now
    return _end(
        run,
        now,
        RunStatus.CANCELLED,
        RunError("Run cancelled", "CANCELLED"),
        cancel_requested_at=now,
        cancel_reason=reason,
        cancel_stopped_at=stopped_at,
    )


def _end(run: Run, now: int, status: RunStatus, error: RunError | None, /, **changes: Any) -> Transition:
    assert status in TERMINAL
    assert not run.terminal
    if status is RunStatus.COMPLETED:
        thread_id = run.conversation_id or run.root_run_id
        told = event.finished(run.run_id, thread_id, changes.get("metadata"))
    else:
        shown = error or RunError("Run cancelled", "CANCELLED")
        told = event.failed(shown.message, shown.code)
    since = run.started_at if run.started_at is not None else run.created_at
    new = rewrite(
        run,
        now,
        status=status,
        completed_at=now,
        duration_ms=max(now - since, 0),
        error=encode(error) if error is not None else None,
        available_at=None,
        latest_event_id=run.latest_event_id + 1,
        **_NO_WAIT,
        **changes,
    )
    return Transition(new, events=(told,), family_active=-1, cancels_family=status is RunStatus.CANCELLED)


def referee(run: Run, *, now: int, dice: float) -> Transition:
    """What the server does with a run whose deadline has passed. Unchanged where none has."""
    if run.due_at is None or run.due_at > now:
        return Transition(run, accepted=False)
    if run.terminal:
        return _stopped(run, now)
    # Of several deadlines the earliest counts, however late the referee comes: `due_at` is that one.
    if run.status is WAITING:
        if run.due_at == run.resume_at:
            if _log_full(run):
                return _fail(run, now, "EVENT_LOG_FULL", "The run's log has no place for the timer's event")
            return Transition(_resumed(run, now), events=(event.resumed("timer", run.waiting_tool_call_id),))
        if run.due_at == run.wait_expires_at:
            return _fail(run, now, "WAIT_EXPIRED", "What the run waited for did not come in time")
        return _park(run, now)
    if run.due_at == run.lease_expires_at:
        return _lose(run, now, outcome="lease_expired", code="LEASE_EXPIRED", dice=dice)
    return _lose(run, now, outcome="timeout", code="TIMEOUT", dice=dice)


def _ended(run: Run, now: int, outcome: AttemptOutcome, error: bytes | None = None) -> EndedAttempt:
    assert run.attempt_started_at is not None
    return EndedAttempt(run.attempt, run.lease_owner, run.attempt_started_at, now, outcome, error)


def _stopped(run: Run, now: int) -> Transition:
    """The worker of a cancelled run has let go. The run's own story is over: only `stopped_at` is added."""
    assert run.terminal
    at = (
        now
        if run.cancel_requested_at is not None and run.cancel_stopped_at is None
        else run.cancel_stopped_at
    )
    new = replace(run, version=run.version + 1, cancel_stopped_at=at, lease_expires_at=None, due_at=None)
    return Transition(new)


def _park(run: Run, now: int, error: bytes | None = None) -> Transition:
    """A worker lets go of a run that waits: no attempt is lost by that."""
    return Transition(rewrite(run, now, **_NO_LEASE), ended=_ended(run, now, "parked", error))


_LOST: Final = {
    "lease_expired": "The worker's lease expired",
    "released": "The worker released the run",
    "timeout": "The attempt took longer than timeout_seconds",
    "parked": "",
}


def _lose(
    run: Run,
    now: int,
    *,
    outcome: AttemptOutcome,
    code: str,
    dice: float,
    error: bytes | None = None,
    wait: int | None = None,
) -> Transition:
    lost = run.attempts_lost + 1
    timed_out = outcome == "timeout"
    default = limits.attempts_default_after_timeout if timed_out else limits.attempts_default_after_lease_loss
    ended = _ended(run, now, outcome, error)
    if not attempts_left(lost, run.backoff_limit, default):
        failed = _fail(
            replace(run, attempts_lost=lost), now, code, f"{_LOST[outcome]} and no attempt is left"
        )
        return replace(failed, ended=ended)
    new = rewrite(
        run,
        now,
        status=PENDING,
        attempts_lost=lost,
        available_at=now + (backoff_ms(lost, dice) if wait is None else wait),
        **_NO_LEASE,
    )
    return Transition(new, ended=ended)


def _fail(run: Run, now: int, code: str, message: str) -> Transition:
    detail = {
        "reason": code.lower(),
        "attempts": run.attempt,
        "lease_owner": run.lease_owner,
        "last_heartbeat_at": iso_or_none(run.last_heartbeat_at),
        "last_event_id": run.latest_event_id,
    }
    error = RunError(f"{message} (attempt {run.attempt})", code, msgspec.Raw(encode(detail)))
    return _end(run, now, RunStatus.FAILED, error, **_NO_LEASE)


def _not_active(run: Run) -> Error:
    return Error("RUN_NOT_ACTIVE", f"The run has ended: it is {run.status.value}")
