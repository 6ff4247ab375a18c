"""Create a run, and give an agent run its start payload."""

from typing import Any

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error, invalid_at
from runstead.core.runs.compensation import compensation_path
from runstead.core.runs.run import Run
from runstead.core.runs.transition import NewMessage, Transition
from runstead.core.runs.transitions.machine import PENDING, RUNNING, rewrite


def create(
    run: Run,
    *,
    now: int,
    message: NewMessage | None,
    parent: Run | None = None,
    family_cancelled: bool = False,
    compensates: bool = False,
    push_service_id: str | None = None,
) -> Transition:
    """Create a run. The caller has set the members of its request; this sets its place in the family and its
    times.

    `push_service_id` is the service that receives the agent's runs. It gets an agent run that has its start
    payload and that neither a worker nor the caller drives. `run.available_at` delays the run;
    INVALID_REQUEST if the caller drives it. PARENT_CANCELLED, FAMILY_TOO_DEEP. `compensates`: it is the retry of a
    compensation of the parent, which may have been cancelled.
    """
    family: dict[str, Any] = {"root_run_id": run.run_id}
    if parent is not None:
        if family_cancelled and not compensates:
            raise Error("PARENT_CANCELLED", "The parent run was cancelled and accepts no more children")
        path = compensation_path(parent) if compensates else f"{parent.path}{parent.seq}/"
        if path.count("/") - path.count("~") > limits.family_depth_max:
            raise Error("FAMILY_TOO_DEEP", f"A run has at most {limits.family_depth_max - 1} ancestors")
        family = {
            "parent_seq": parent.seq,
            "parent_run_id": parent.run_id,
            "root_seq": parent.root_seq or parent.seq,
            "root_run_id": parent.root_run_id,
            "path": path,
        }
    running = run.status is RUNNING
    if run.request_snapshot is not None and not run.queued and not running:
        run = replace(run, push_service_id=push_service_id)
    if running or not run.queued:
        refuse_delay(run.available_at)
    new = replace(
        run,
        created_at=now,
        updated_at=now,
        started_at=now if running else None,
        available_at=max(now, run.available_at or now) if run.queued else None,
        **family,
    )
    return Transition(new, message=message, family_total=1, family_active=1)


def start(
    run: Run,
    *,
    now: int,
    snapshot: bytes,
    push_service_id: str | None = None,
    available_at: int | None = None,
) -> Transition:
    """Give an agent run its start payload. A later payload changes nothing.

    With a push service for the agent's runs, the run stays pending until it is pushed, at `available_at` or
    now.
    """
    changes: dict[str, Any] = {"request_snapshot": snapshot} if run.request_snapshot is None else {}
    if run.status is PENDING and run.available_at is None:
        if push_service_id is not None:
            changes |= {"push_service_id": push_service_id, "available_at": max(now, available_at or now)}
        else:
            refuse_delay(available_at)
            # No worker claims it: the caller that started it drives it.
            changes |= {"status": RUNNING, "started_at": now}
    if run.terminal or not changes:
        return Transition(run, duplicate=True)
    return Transition(rewrite(run, now, **changes), duplicate=True)


def refuse_delay(available_at: int | None) -> None:
    """INVALID_REQUEST for a delay of a run that the server hands to no worker and to no service."""
    if available_at is not None:
        raise invalid_at(
            "$.available_at",
            "the caller drives this run",
            "available_at delays a run that a worker claims or that is pushed to a service. The caller drives this run"
            " and can start it later",
        )
