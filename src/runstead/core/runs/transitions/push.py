"""Pushed runs: sent to a service, taken by it, or not delivered; and stopped there after a cancel."""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.queue.push_service import PushService
from runstead.core.runs.retry import backoff_ms
from runstead.core.runs.run import Run
from runstead.core.runs.transition import EndedAttempt, Transition
from runstead.core.runs.transitions.attempts import claim
from runstead.core.runs.transitions.machine import NO_LEASE, PENDING, RUNNING, fail, rewrite, stopped

UNREACHED: Final = "No active push service takes the runs of this agent"


def dispatch(run: Run, *, now: int, service: PushService | None, token: str, dice: float) -> Transition:
    """Begin the attempt to hand a run over. The caller holds the row's lock and has found it due.

    Without a service the try has failed before it began. A short lease covers the call: where the server dies in it,
    the lease ends and the run is sent again.
    """
    if service is None:
        return undelivered(run, now=now, reason=UNREACHED, dice=dice)
    moved = run if run.push_service_id == service.id else replace(run, push_service_id=service.id)
    return claim(moved, now=now, worker=service.id, lease_ms=limits.dispatch_lease_ms, token=token)


def dispatched(run: Run, *, now: int, token: str) -> Transition:
    """The service has taken the run: from now on it may be silent for `limits.push_silence_ms`. Unchanged where the
    attempt is over: the service was quicker than its own answer, or the run was cancelled.
    """
    if run.terminal or run.lease_token != token:
        return Transition(run, accepted=False)
    lease: dict[str, Any] = {"lease_ms": limits.push_silence_ms, "last_heartbeat_at": now, "push_failures": 0}
    return Transition(rewrite(run, now, lease_expires_at=now + limits.push_silence_ms, **lease))


def undelivered(
    run: Run,
    *,
    now: int,
    reason: str,
    dice: float,
    token: str | None = None,
    final: bool = False,
    retry_after_ms: int | None = None,
) -> Transition:
    """A try to hand the run over came to nothing: another after a backoff, while there is one and it is not `final`.

    `token` is the one of the attempt that failed, None where none began.
    """
    if run.terminal or run.lease_token != token:
        return Transition(run, accepted=False)
    if token is not None and (run.status is not RUNNING or run.lease_ms != limits.dispatch_lease_ms):
        # It waits already: the service has the run, whatever became of its answer.
        return dispatched(run, now=now, token=token)
    failures = run.push_failures + 1
    ended = None
    if token is not None:
        assert run.attempt_started_at is not None
        told = msgspec.json.encode({"message": reason})
        ended = EndedAttempt(
            attempt=run.attempt,
            lease_owner=run.lease_owner,
            started_at=run.attempt_started_at,
            ended_at=now,
            outcome="dispatch_failed",
            error=told,
        )
    if final or failures >= limits.dispatch_tries_max:
        ending = fail(replace(run, push_failures=failures), now, "DISPATCH_FAILED", reason)
        return replace(ending, ended=ended)
    pause = max(backoff_ms(failures, dice), retry_after_ms or 0)
    changes: dict[str, Any] = {"status": PENDING} if run.status is RUNNING else {}
    new = rewrite(run, now, push_failures=failures, available_at=now + pause, **changes, **NO_LEASE)
    return Transition(new, ended=ended)


def stopped_by_service(run: Run, *, now: int) -> Transition:
    """The service of a cancelled run was told to stop, or could not be told. Noted once."""
    if run.cancel_requested_at is None or run.cancel_stopped_at is not None:
        return Transition(run, accepted=False)
    return stopped(run, now)
