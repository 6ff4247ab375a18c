"""Change schedules: edits by a caller, and syncs with the project's source.

Pure functions, like every rule.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error, invalid_at
from runstead.core.runs.flow import Debounce, Unique
from runstead.core.schedules.schedule import (
    Schedule,
    begun,
    check,
    completed,
    next_fire,
    paused,
    planned,
    stored_flow,
)

#: Members that define the times: a change of one plans the schedule again.
_TIMES: Final = frozenset({"schedule", "run_at", "timezone"})


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """The requested changes: members of the row, `unique` and `debounce` of its flow (None removes one), and the
    status. A reason is allowed with a pause only.
    """

    members: Mapping[str, Any] = {}
    flow: Mapping[str, Unique | Debounce | None] = {}
    status: Literal["active", "paused"] | None = None
    paused_reason: str | msgspec.UnsetType | None = msgspec.UNSET


class Sync(msgspec.Struct, frozen=True):
    """The result of a sync: the rows of a project's source schedules to store, to rewrite and to remove."""

    created: tuple[Schedule, ...] = ()
    updated: tuple[Schedule, ...] = ()
    removed: tuple[Schedule, ...] = ()
    unchanged: tuple[Schedule, ...] = ()


def edit(schedule: Schedule, wanted: Edit, now: int) -> Schedule:
    """Return the changed row, or the same object if nothing changes. Times that passed during a pause, or
    before a change of the times, do not fire later.

    SCHEDULE_DELETING, SCHEDULE_FROM_SOURCE, INVALID_REQUEST.
    """
    _refuse_deleting(schedule)
    members = {**wanted.members, **_flow(schedule, wanted)}
    members = {name: value for name, value in members.items() if value != getattr(schedule, name)}
    if members and schedule.definition_source == "source":
        raise _from_source("is changed there and synced; here it can only be paused and resumed")
    changed = _status(_redefined(schedule, members, now), wanted, now)
    if changed == schedule:
        return schedule
    return _rewritten(changed, now)


def _flow(schedule: Schedule, wanted: Edit) -> dict[str, Any]:
    if not wanted.flow:
        return {}
    flow = replace(schedule.flow_control, **wanted.flow)
    return {"flow": stored_flow(flow.unique, flow.debounce)}


def delete(schedule: Schedule, now: int) -> Schedule:
    """Mark the schedule as being deleted: it fires no more and is removed once all its runs have ended.
    SCHEDULE_FROM_SOURCE.
    """
    if schedule.status == "deleting":
        return schedule
    if schedule.definition_source == "source":
        raise _from_source("is removed by a sync without it; here it can only be paused")
    return _deleting(schedule, now)


APP_PATH: Final = "app:"
"""The start of the `source_path` of schedules that an app of a worker defines; its name follows."""


def sync(
    known: Sequence[Schedule], wanted: Sequence[Schedule], now: int, app_name: str | None = None
) -> Sync:
    """Compute the changes that make the project's schedules match its source, by `source_trigger_id`.

    With an `app_name`, the source is that app, else it is all source code without the apps. A schedule with the same `source_hash` is not changed. A paused schedule stays paused. A schedule that is
    missing in the source is deleted. INVALID_REQUEST, SCHEDULE_LIMIT_REACHED.
    """
    mine = {
        one.source_trigger_id: one
        for one in known
        if one.definition_source == "source" and one.status != "deleting" and _is_of(one, app_name)
    }
    others = sum(one.definition_source != "source" or not _is_of(one, app_name) for one in known)
    refuse_more_than_fit(others + len(wanted))
    created, updated, unchanged = [], [], []
    for place, new in enumerate(wanted):
        old = mine.pop(new.source_trigger_id, None)
        try:
            if old is None:
                created.append(begun(new, now))
            elif old.source_hash == new.source_hash:
                unchanged.append(old)
            else:
                members = {name: getattr(new, name) for name in DEFINED}
                updated.append(_rewritten(_redefined(old, members, now), now))
        except Error as refusal:
            raise _at(refusal, place) from None
    removed = tuple(_deleting(old, now) for old in mine.values())
    return Sync(tuple(created), tuple(updated), removed, tuple(unchanged))


def _is_of(schedule: Schedule, app_name: str | None) -> bool:
    path = schedule.source_path or ""
    return not path.startswith(APP_PATH) if app_name is None else path == f"{APP_PATH}{app_name}"


def _at(refusal: Error, place: int) -> Error:
    errors = tuple(
        (path.replace("$", f"$.schedules[{place}]", 1), message) for path, message in refusal.errors
    )
    return Error(refusal.code, f"schedules[{place}]: {refusal.message}", errors=errors)


def check_synced(wanted: Sequence[Schedule], now: int) -> None:
    """INVALID_REQUEST with the index of the first schedule that is invalid or repeats a `source_trigger_id`."""
    seen: set[str | None] = set()
    for place, new in enumerate(wanted):
        if new.source_trigger_id in seen:
            message = f"{new.source_trigger_id!r} is used twice: each schedule of a source needs its own id"
            raise _at(invalid_at("$.source_trigger_id", message), place)
        seen.add(new.source_trigger_id)
        try:
            check(new, now)
        except Error as refusal:
            raise _at(refusal, place) from None


def refuse_more_than_fit(count: int) -> None:
    """SCHEDULE_LIMIT_REACHED if a project would have `count` schedules."""
    if count > limits.schedules_per_project_max:
        raise Error(
            "SCHEDULE_LIMIT_REACHED", f"A project has at most {limits.schedules_per_project_max} schedules"
        )


def _refuse_deleting(schedule: Schedule) -> None:
    if schedule.status == "deleting":
        raise Error("SCHEDULE_DELETING", "The schedule is being deleted and can no longer be changed")


def _from_source(what: str) -> Error:
    return Error("SCHEDULE_FROM_SOURCE", f"The schedule is defined in the project's source: it {what}")


def _redefined(schedule: Schedule, members: Mapping[str, Any], now: int) -> Schedule:
    if not members:
        return schedule
    changed = replace(schedule, **members)
    check(changed, now)
    if changed.run_at is not None and changed.run_at != schedule.run_at and next_fire(changed, now) is None:
        message = "run_at has passed: a one-time schedule needs a time in the future"
        raise invalid_at("$.run_at", message)
    times_changed = any(getattr(changed, name) != getattr(schedule, name) for name in _TIMES)
    return _replanned(changed, now, times_changed=times_changed)


def _replanned(schedule: Schedule, now: int, *, times_changed: bool) -> Schedule:
    """Compute again whether the schedule is completed: more runs or another time make it active again."""
    full = schedule.max_runs is not None and schedule.run_count >= schedule.max_runs
    spent = schedule.run_at is not None and schedule.completed_at is not None and not times_changed
    if full or spent:
        at = now if schedule.completed_at is None else schedule.completed_at
        return completed(schedule, at)
    opened = schedule.completed_at is not None
    schedule = replace(schedule, completed_at=None)
    return planned(schedule, now) if opened or times_changed else schedule


def _status(schedule: Schedule, wanted: Edit, now: int) -> Schedule:
    reason = wanted.paused_reason
    if wanted.status == "active":
        if isinstance(reason, str):
            raise _reason_refused()
        if schedule.status == "paused":
            resumed = replace(schedule, status="active", paused_at=None, paused_reason=None)
            return planned(resumed, now)
        return schedule
    if wanted.status == "paused" and schedule.status == "active":
        return paused(schedule, now, reason if isinstance(reason, str) else None)
    if reason is msgspec.UNSET:
        return schedule
    if schedule.status != "paused":
        if reason is None:
            return schedule
        raise _reason_refused()
    return replace(schedule, paused_reason=reason)


def _reason_refused() -> Error:
    message = "paused_reason needs a pause: send it with the status paused, or for a schedule that is paused"
    return invalid_at("$.paused_reason", message)


def _deleting(schedule: Schedule, now: int) -> Schedule:
    return _rewritten(replace(schedule, status="deleting", next_fire_at=now), now)


def _rewritten(schedule: Schedule, now: int) -> Schedule:
    return replace(schedule, updated_at=max(now, schedule.updated_at), version=schedule.version + 1)


#: The members that a source defines. All others belong to the store.
DEFINED: Final = (
    "name",
    "target_kind",
    "target_id",
    "conversation_mode",
    "conversation_id",
    "schedule",
    "run_at",
    "timezone",
    "runtime_target_kind",
    "runtime_target_environment_id",
    "runtime_target_branch_id",
    "config",
    "timeout_seconds",
    "backoff_limit",
    "concurrency_policy",
    "max_runs",
    "max_staleness_seconds",
    "concurrency_key",
    "flow",
    "source_path",
    "source_hash",
)
