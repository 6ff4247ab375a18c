"""The common parts of all transitions: allowed moves, the fence, the next deadline, the end of a run."""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.clock import iso_or_none
from runstead.core.conversations.input_request import ClosedInput, InputResponse, InputStatus
from runstead.core.errors import Error
from runstead.core.runs import event
from runstead.core.runs.run import PINNED_QUEUE, TERMINAL, Run, RunError, RunStatus
from runstead.core.runs.transition import AttemptOutcome, EndedAttempt, Transition

encode = msgspec.json.Encoder().encode

PENDING, RUNNING, WAITING = RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING

#: The allowed next states of each state. `rewrite` asserts them.
MOVES: Final = {
    PENDING: frozenset({RUNNING, WAITING}) | TERMINAL,
    RUNNING: frozenset({WAITING, PENDING}) | TERMINAL,
    WAITING: frozenset({RUNNING}) | TERMINAL,
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}

NO_LEASE: Final = {"lease_token": None, "lease_expires_at": None, "lease_ms": None}
NO_WAIT: Final = {
    "waiting_reason": None,
    "waiting_tool_call_id": None,
    "waiting_tool_name": None,
    "wait_expires_at": None,
    "resume_at": None,
    "waiting_input_id": None,
    "waiting_run_id": None,
    "open_approvals": None,
    "waiting_events": None,
    "paused_available_at": None,
}


class Fence(msgspec.Struct, frozen=True):
    """The attempt number and lease token that a worker sends to prove that it holds the run.

    `worker` is the id of a worker whose own token came with the request. None is not checked, except in the projects
    `required_in`.
    """

    attempt: int | None = None
    token: str | None = None
    worker: str | None = None
    required_in: frozenset[str] = frozenset()

    @property
    def given(self) -> bool:
        return self.attempt is not None or self.token is not None

    @property
    def holds_lease(self) -> bool:
        """Whether the caller proves that it holds the lease, once `check` has passed."""
        return self.token is not None or self.worker is not None

    def check(self, run: Run) -> None:
        """ATTEMPT_SUPERSEDED if the attempt has ended or was replaced. FORBIDDEN for a worker that does not hold
        the run. ATTEMPT_REQUIRED for a write without a proof.
        """
        if self.worker is not None and (run.lease_token is None or run.lease_owner != self.worker):
            raise Error("FORBIDDEN", "The worker does not hold the lease of this run")
        if not self.given:
            if run.attempt and run.project_id in self.required_in:
                raise Error(
                    "ATTEMPT_REQUIRED",
                    "The project requires a proof of the attempt: send the attempt of the claim in the body, or its "
                    "lease token in X-Lease-Token",
                )
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
    """Return the next deadline of the run in ms, None if there is none."""
    times = [run.lease_expires_at] if run.lease_expires_at is not None else []
    if run.status is RUNNING and times and run.timeout_seconds is not None:
        assert run.attempt_started_at is not None
        times.append(run.attempt_started_at + run.timeout_seconds * 1000)
    elif run.status is WAITING:
        times += [at for at in (run.wait_expires_at, run.resume_at) if at is not None]
    elif run.terminal and run.awaited_at is not None:
        assert run.completed_at is not None
        times.append(max(run.completed_at, run.awaited_at))
    return min(times, default=None)


def rewrite(run: Run, now: int, /, **changes: Any) -> Run:
    """Return the changed row with its new version, update time and next deadline."""
    status = changes.get("status", run.status)
    assert status is run.status or status in MOVES[run.status], (run.status, status)
    new = replace(run, version=run.version + 1, updated_at=max(now, run.updated_at), **changes)
    if new.pinned_to is not None and "available_at" in changes:
        at = new.available_at
        new = replace(new, available_at=None if at is None else PINNED_QUEUE, pinned_available_at=at)
    due = due_at(new)
    return new if due == new.due_at else replace(new, due_at=due)


def end(run: Run, now: int, status: RunStatus, error: RunError | None, /, **changes: Any) -> Transition:
    """End the run: terminal status, terminal event, and the end of its wait."""
    assert status in TERMINAL
    assert not run.terminal
    if status is RunStatus.COMPLETED:
        thread_id = run.conversation_id or run.root_run_id
        terminal_event = event.finished(run.run_id, thread_id, changes.get("metadata"))
    else:
        shown = error or RunError("Run cancelled", "CANCELLED")
        terminal_event = event.failed(shown.message, shown.code)
    since = run.started_at if run.started_at is not None else run.created_at
    if run.compensations is not None:
        changes["compensations"] = None  # the engine creates them, or drops them
    new = rewrite(
        run,
        now,
        status=status,
        completed_at=now,
        duration_ms=max(now - since, 0),
        error=encode(error) if error is not None else None,
        available_at=None,
        latest_event_id=run.latest_event_id + 1,
        **NO_WAIT,
        **changes,
    )
    return Transition(
        new,
        events=(terminal_event,),
        family_active=-1,
        cancels_family=status is RunStatus.CANCELLED,
        closed_input=closed_input(run, now, "cancelled"),
    )


def closed_input(
    run: Run, now: int, status: InputStatus, response: InputResponse | None = None
) -> ClosedInput | None:
    """Close the input request that the run waits for. None if it waits for none."""
    return (
        None
        if run.waiting_input_id is None
        else ClosedInput(run.waiting_input_id, status, max(now, run.updated_at), response)
    )


def fail(run: Run, now: int, code: str, message: str) -> Transition:
    """Fail the run with an error of the server. The error's detail describes the last attempt."""
    detail = {
        "reason": code.lower(),
        "attempts": run.attempt,
        "lease_owner": run.lease_owner,
        "last_heartbeat_at": iso_or_none(run.last_heartbeat_at),
        "last_event_id": run.latest_event_id,
    }
    error = RunError(f"{message} (attempt {run.attempt})", code, msgspec.Raw(encode(detail)))
    return end(run, now, RunStatus.FAILED, error, **NO_LEASE)


def stopped(run: Run, now: int) -> Transition:
    """Record that the worker of a cancelled run has stopped.

    Only `cancel_stopped_at` and the lease change.
    """
    assert run.terminal
    at = (
        now
        if run.cancel_requested_at is not None and run.cancel_stopped_at is None
        else run.cancel_stopped_at
    )
    return Transition(annotate(run, cancel_stopped_at=at, lease_expires_at=None))


def annotate(run: Run, /, **changes: Any) -> Run:
    """Return the changed row of an ended run. `updated_at` stays the same."""
    new = replace(run, version=run.version + 1, **changes)
    return replace(new, due_at=due_at(new))


def lease_renewal(run: Run, now: int) -> dict[str, Any]:
    """Return the fields that renew the lease of a pushed run after an append, as a sign that its service is
    alive.

    Empty for other runs, and if the lease was renewed less than `limits.push_renewal_ms` ago.
    """
    if run.push_service_id is None or run.lease_token is None or run.lease_ms is None:
        return {}
    until = now + run.lease_ms
    if run.lease_expires_at is not None and until - run.lease_expires_at < limits.push_renewal_ms:
        return {}
    return {"lease_expires_at": until, "last_heartbeat_at": now}


def not_active(run: Run) -> Error:
    return Error("RUN_NOT_ACTIVE", f"The run has ended: it is {run.status.value}")


def log_full(run: Run) -> bool:
    """Whether the log has room for the terminal event only."""
    return run.latest_event_id >= limits.events_per_run_max - 1


def attempt_ended(run: Run, now: int, outcome: AttemptOutcome, error: bytes | None = None) -> EndedAttempt:
    assert run.attempt_started_at is not None
    return EndedAttempt(
        attempt=run.attempt,
        lease_owner=run.lease_owner,
        started_at=run.attempt_started_at,
        ended_at=now,
        outcome=outcome,
        error=error,
    )


def parked(run: Run, now: int, error: bytes | None = None) -> Transition:
    """End the lease of a waiting run. The attempt does not count as lost."""
    return Transition(rewrite(run, now, **NO_LEASE), ended=attempt_ended(run, now, "parked", error))
