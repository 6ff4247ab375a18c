"""What a schedule does when its time has come."""

import uuid

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import RunError
from runstead.core.runs.transition import Due, Fired, Loaded, Transition
from runstead.core.runs.transitions.complete import cancel
from runstead.core.runs.transitions.schedule import Firing, fire
from runstead.core.schedules.schedule import (
    UNPLANNED,
    Schedule,
    failed,
    firing_at,
    firing_id,
    missed,
    passed,
    paused,
    planned,
)


def fire_due(due: Due) -> Fired:
    """The run of the latest time that has come, or why there is none. Whatever comes of it, the schedule is not due at
    this time again. Refuses nothing: what cannot be is told by the schedule.
    """
    schedule, now = due.schedule, due.now
    if schedule.status == "deleting":
        if not due.running:
            return Fired(None, "removed")
        later = now + limits.schedule_deleting_ms
        return Fired(replace(schedule, next_fire_at=later, version=schedule.version + 1), "deleting")
    if schedule.next_fire_at == UNPLANNED:
        return Fired(planned(replace(schedule, version=schedule.version + 1), now), "planned")
    try:
        at = firing_at(schedule, now)
        assert at is not None
        return _fire(due, _noted(schedule, now), at)
    except Error as refusal:
        return fail_firing(due, refusal.code, refusal.message)


def fail_firing(due: Due, code: str, message: str) -> Fired:
    """The firing could make no run: that is told, and the schedule goes on to its next time."""
    told = failed(_noted(due.schedule, due.now), due.now, code, message)
    return Fired(passed(told, due.now, due.now), "failed")


def pause_broken(due: Due, message: str) -> Fired:
    """Not even the next time can be told: nothing fires until somebody has looked."""
    told = failed(due.schedule, due.now, "INTERNAL", message)
    return Fired(paused(told, due.now, message), "failed")


def _noted(schedule: Schedule, now: int) -> Schedule:
    """The row with its planned time told as missed, where it was."""
    if not missed(schedule, now):
        return schedule
    return replace(schedule, last_missed_at=schedule.next_fire_at, missed_count=schedule.missed_count + 1)


def _fire(due: Due, schedule: Schedule, at: int) -> Fired:
    now = due.now
    run_id = firing_id(schedule, at)
    if due.run is not None:
        if due.run.schedule_id == schedule.id:
            return Fired(passed(schedule, at, now), "repeated")
        raise Error("RUN_ID_CONFLICT", f"The run id {run_id} is taken by a run of something else")
    if not due.conversation_live:
        raise Error(
            "NOT_FOUND",
            f"The conversation {schedule.conversation_id} that it speaks in is not there or was deleted",
        )
    policy = schedule.concurrency_policy
    if policy == "Forbid" and due.running:
        held = replace(
            schedule,
            last_skipped_at=at,
            last_skipped_reason=f"The run {due.running[0].run_id} had not ended",
            skipped_count=schedule.skipped_count + 1,
        )
        return Fired(passed(held, at, now), "skipped")
    cancels = _replaced(due, run_id) if policy == "Replace" else ()
    if len(cancels) >= limits.schedule_replaced_runs_max:
        # There may be more: this time is still due, and its run comes once they are gone.
        return Fired(due.schedule, "replacing", cancels=cancels)
    born = fire(
        Loaded(now, schedule=schedule, push_service_id=due.push_service_id),
        Firing(
            run_id=run_id,
            uid=_named(schedule, at, "uid"),
            message_id=_named(schedule, at, "message"),
            conversation_id=_named(schedule, at, "conversation"),
            trigger_kind="schedule",
            created_by=schedule.created_by,
            scheduled_at=at,
            missed_since=schedule.last_missed_at if missed(due.schedule, now) else None,
        ),
    )
    assert born.schedule is not None
    return Fired(passed(born.schedule, at, now), "fired", replace(born, schedule=None), cancels)


def _replaced(due: Due, run_id: str) -> tuple[Transition, ...]:
    why = f"Replaced by {run_id}, the next run of its schedule"
    error = RunError(why, "REPLACED")
    return tuple(
        cancel(run, now=max(due.now, run.updated_at), reason=why, error=error) for run in due.running
    )


def _named(schedule: Schedule, at: int, what: str) -> str:
    """An id of what comes with the run: always the same one, so that the rule needs no randomness."""
    return str(uuid.uuid5(uuid.UUID(schedule.id), f"{what}:{at}"))
