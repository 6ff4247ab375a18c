"""Schedules in answers."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from runstead.core.clock import iso_or_none
from runstead.core.runs.run import RuntimeTargetKind
from runstead.core.schedules import schedule as rules
from runstead.core.schedules.schedule import Schedule
from runstead.http.flow_bodies import DebounceBody, UniqueBody, bodies_of
from runstead.http.framework.views import JsonObject, Timestamp, view_of


class ScheduleTargetView(msgspec.Struct, frozen=True, omit_defaults=True):
    """The target of a schedule. Only an agent's target has members for the conversation."""

    kind: rules.ScheduleTargetKind
    id: str
    conversation_mode: rules.ConversationMode | msgspec.UnsetType = msgspec.UNSET
    conversation_id: str | msgspec.UnsetType | None = msgspec.UNSET


class ScheduleView(msgspec.Struct, frozen=True):
    """A schedule. The members after `updated_at` are extensions of Runstead."""

    id: str
    project_id: str
    name: str
    status: rules.ScheduleStatus
    target: ScheduleTargetView
    schedule: Annotated[str, Meta(description="A cron expression of five fields; empty with `run_at`.")]
    timezone: str
    definition_source: rules.DefinitionSource
    source_trigger_id: str | None
    source_path: str | None
    source_hash: str | None
    runtime_target_kind: RuntimeTargetKind
    runtime_target_environment_id: str | None
    runtime_target_branch_id: str | None
    config: JsonObject
    timeout_seconds: int
    backoff_limit: int
    concurrency_policy: rules.ConcurrencyPolicy
    health: rules.Health | None
    max_runs: int | None
    run_count: int
    last_scheduled_at: Timestamp | None
    last_successful_at: Timestamp | None
    last_failure_at: Timestamp | None
    last_failure_code: str | None
    last_failure_message: str | None
    last_failure_run_id: str | None
    paused_reason: str | None
    paused_at: Timestamp | None
    completed_at: Timestamp | None
    integration_requirements: list[Any]
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp
    # Extensions of Runstead
    run_at: Timestamp | None
    next_fire_at: Timestamp | None
    max_staleness_seconds: int | None
    last_skipped_at: Timestamp | None
    last_skipped_reason: str | None
    skipped_count: int
    last_missed_at: Timestamp | None
    missed_count: int
    concurrency_key: str | msgspec.UnsetType = msgspec.UNSET
    unique: UniqueBody | msgspec.UnsetType = msgspec.UNSET
    debounce: DebounceBody | msgspec.UnsetType = msgspec.UNSET


def _target(schedule: Schedule) -> ScheduleTargetView:
    if schedule.target_kind != "agent":
        return ScheduleTargetView(schedule.target_kind, schedule.target_id)
    mode = schedule.conversation_mode or msgspec.UNSET
    return ScheduleTargetView(schedule.target_kind, schedule.target_id, mode, schedule.conversation_id)


def view(schedule: Schedule, now: int) -> ScheduleView:
    """Build the view of a schedule. `now` (ms) is the time of its health."""
    # Unplanned schedules have no next time, and schedules in deletion do not fire.
    next_fire_at = (
        None if schedule.next_fire_at == rules.UNPLANNED or not schedule.fires else schedule.next_fire_at
    )
    return view_of(
        ScheduleView,
        schedule,
        target=_target(schedule),
        health=schedule.health(now),
        integration_requirements=msgspec.json.decode(schedule.integration_requirements),
        next_fire_at=iso_or_none(next_fire_at),
        **bodies_of(schedule.flow_control),
    )
