"""Fire a schedule that is due."""

import uuid

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.flow import KeyedRuns
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
    """Decide the firing of a due schedule: a run for the latest planned time, or the reason why there is
    none.

    Raises nothing: a refusal is recorded on the schedule, which then moves on to its next time.
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
        return _fire(due, _count_missed(schedule, now), at)
    except Error as refusal:
        return fail_firing(due, refusal.code, refusal.message)


def fail_firing(due: Due, code: str, message: str) -> Fired:
    """Record that the firing could create no run, and move the schedule on to its next time."""
    changed = failed(_count_missed(due.schedule, due.now), due.now, code, message)
    return Fired(passed(changed, due.now, due.now), "failed")


def pause_broken(due: Due, message: str) -> Fired:
    """Pause a schedule whose next time cannot be computed. It stays paused until a user resumes it."""
    changed = failed(due.schedule, due.now, "INTERNAL", message)
    return Fired(paused(changed, due.now, message), "failed")


def _count_missed(schedule: Schedule, now: int) -> Schedule:
    """Return the row with its planned time counted as missed, if it was missed."""
    if not missed(schedule, now):
        return schedule
    return replace(schedule, last_missed_at=schedule.next_fire_at, missed_count=schedule.missed_count + 1)


def _fire(due: Due, schedule: Schedule, at: int) -> Fired:
    now = due.now
    run_id = firing_id(schedule, at)
    if due.run is not None:
        if due.run.schedule_id == schedule.id:
            return Fired(passed(schedule, at, now), "repeated")
        raise Error("RUN_ID_CONFLICT", f"The run id {run_id} is taken by a run that is not of this schedule")
    if not due.conversation_live:
        raise Error(
            "NOT_FOUND",
            f"The conversation {schedule.conversation_id} of the schedule does not exist or was deleted",
        )
    created = fire(
        Loaded(now, schedule=schedule, push_service_id=due.push_service_id, keyed=_holders(due)),
        Firing(
            run_id=run_id,
            uid=_derived_id(schedule, at, "uid"),
            message_id=_derived_id(schedule, at, "message"),
            conversation_id=_derived_id(schedule, at, "conversation"),
            trigger_kind="schedule",
            created_by=schedule.created_by,
            scheduled_at=at,
            missed_since=schedule.last_missed_at if missed(due.schedule, now) else None,
        ),
    )
    if created.duplicate and created.run is not due.keyed.unique:
        # There is no new run, so nothing overlaps.
        return Fired(passed(schedule, at, now), "debounced", created)
    policy = schedule.concurrency_policy
    if policy == "Forbid" and due.running:
        return _skip(schedule, at, now, f"The run {due.running[0].run_id} had not ended")
    if created.duplicate:
        return _skip(schedule, at, now, f"The run {created.run.run_id} holds the unique key")
    cancels = _replaced(due, run_id) if policy == "Replace" else ()
    if len(cancels) >= limits.schedule_replaced_runs_max:
        # There may be more active runs. The schedule stays due, and its run is created once all are
        # cancelled.
        return Fired(due.schedule, "replacing", cancels=cancels)
    assert created.schedule is not None
    return Fired(passed(created.schedule, at, now), "fired", replace(created, schedule=None), cancels)


def _holders(due: Due) -> KeyedRuns:
    """Return the runs with the keys, without a run of the schedule that the new one replaces."""
    schedule, holder, unique = due.schedule, due.keyed.unique, due.schedule.flow_control.unique
    replaced = (
        schedule.concurrency_policy == "Replace"
        and unique is not None
        and unique.seconds is None
        and holder is not None
        and holder.schedule_id == schedule.id
    )
    return due.keyed._replace(unique=None) if replaced else due.keyed


def _skip(schedule: Schedule, at: int, now: int, reason: str) -> Fired:
    skipped = replace(
        schedule,
        last_skipped_at=at,
        last_skipped_reason=reason,
        skipped_count=schedule.skipped_count + 1,
    )
    return Fired(passed(skipped, at, now), "skipped")


def _replaced(due: Due, run_id: str) -> tuple[Transition, ...]:
    why = f"Replaced by {run_id}, the next run of its schedule"
    error = RunError(why, "REPLACED")
    return tuple(
        cancel(run, now=max(due.now, run.updated_at), reason=why, error=error) for run in due.running
    )


def _derived_id(schedule: Schedule, at: int, what: str) -> str:
    """Derive an id from the schedule and the planned time, so that the rule needs no random value."""
    return str(uuid.uuid5(uuid.UUID(schedule.id), f"{what}:{at}"))
