"""Pushed runs: dispatch to a push service, its answer, and the stop after a cancel."""

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
    """Start an attempt that sends the run to the service. The caller holds the row's lock and has checked
    that it is due.

    Without a service the dispatch fails at once. The attempt has a short lease: if the server dies during the
    call, the lease expires and the run is sent again.
    """
    if service is None:
        return undelivered(run, now=now, reason=UNREACHED, dice=dice)
    moved = run if run.push_service_id == service.id else replace(run, push_service_id=service.id)
    return claim(moved, now=now, worker=service.id, lease_ms=limits.dispatch_lease_ms, token=token)


def dispatched(run: Run, *, now: int, token: str) -> Transition:
    """Record that the service accepted the run. Its lease is now `limits.push_silence_ms`.

    Changes nothing if the attempt has ended: the service completed the run before it answered, or the run was
    cancelled.
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
    """Record a failed dispatch. It is retried after a backoff, unless it is `final` or no retries are left.

    `token` is the lease token of the failed attempt, None if no attempt was started.
    """
    if run.terminal or run.lease_token != token:
        return Transition(run, accepted=False)
    if token is not None and (run.status is not RUNNING or run.lease_ms != limits.dispatch_lease_ms):
        # The service already works on the run: only its answer was lost.
        return dispatched(run, now=now, token=token)
    failures = run.push_failures + 1
    ended = None
    if token is not None:
        assert run.attempt_started_at is not None
        error = msgspec.json.encode({"message": reason})
        ended = EndedAttempt(
            attempt=run.attempt,
            lease_owner=run.lease_owner,
            started_at=run.attempt_started_at,
            ended_at=now,
            outcome="dispatch_failed",
            error=error,
        )
    if final or failures >= limits.dispatch_tries_max:
        ending = fail(replace(run, push_failures=failures), now, "DISPATCH_FAILED", reason)
        return replace(ending, ended=ended)
    pause = max(backoff_ms(failures, dice), retry_after_ms or 0)
    changes: dict[str, Any] = {"status": PENDING} if run.status is RUNNING else {}
    new = rewrite(run, now, push_failures=failures, available_at=now + pause, **changes, **NO_LEASE)
    return Transition(new, ended=ended)


def stopped_by_service(run: Run, *, now: int) -> Transition:
    """Record that the service of a cancelled run has stopped, or could not be reached.

    The first record stays.
    """
    if run.cancel_requested_at is None or run.cancel_stopped_at is not None:
        return Transition(run, accepted=False)
    return stopped(run, now)
