"""Schedules and the runs that they start."""

from datetime import datetime
from typing import Any

import msgspec

from runstead.sdk.models.response import PageInfo, ResponseModel


class ScheduleTarget(ResponseModel, frozen=True, kw_only=True):
    """The target of a schedule. `conversation_mode` and `conversation_id` are set for agents only."""

    kind: str
    id: str
    conversation_mode: str | None = None
    conversation_id: str | None = None


class Schedule(ResponseModel, frozen=True, kw_only=True):
    """A recurring or one-time schedule.

    `schedule` has five cron fields in `timezone`. It is empty for a one-time schedule, which has `run_at`. `health` is
    healthy, stale or failed, and None until the first run has ended.
    """

    id: str
    project_id: str
    name: str
    status: str
    target: ScheduleTarget
    schedule: str
    timezone: str = "UTC"
    definition_source: str = "manual"
    source_trigger_id: str | None = None
    source_path: str | None = None
    source_hash: str | None = None
    runtime_target_kind: str | None = None
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    config: dict[str, Any] | None = None
    timeout_seconds: int | None = None
    backoff_limit: int | None = None
    concurrency_key: str | None = None
    unique: dict[str, Any] | None = None
    debounce: dict[str, Any] | None = None
    concurrency_policy: str | None = None
    health: Any = None
    max_runs: int | None = None
    run_count: int = 0
    last_scheduled_at: datetime | None = None
    last_successful_at: datetime | None = None
    last_failure_at: datetime | None = None
    last_failure_code: str | None = None
    last_failure_message: str | None = None
    last_failure_run_id: str | None = None
    paused_reason: str | None = None
    paused_at: datetime | None = None
    completed_at: datetime | None = None
    integration_requirements: list[Any] = msgspec.field(default_factory=list)
    created_by: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    run_at: datetime | None = None
    next_fire_at: datetime | None = None
    max_staleness_seconds: int | None = None
    last_skipped_at: datetime | None = None
    last_skipped_reason: str | None = None
    skipped_count: int = 0
    last_missed_at: datetime | None = None
    missed_count: int = 0


class ScheduleAnswer(ResponseModel, frozen=True, kw_only=True):
    """The stored schedule."""

    schedule: Schedule


class ScheduleList(ResponseModel, frozen=True, kw_only=True):
    """The schedules of a project, oldest first."""

    schedules: list[Schedule]
    source_schedules: list[Any] = msgspec.field(default_factory=list)
    page_info: PageInfo = msgspec.field(default_factory=PageInfo)

    @property
    def data(self) -> list[Schedule]:
        """The schedules, under the name that they have in other lists."""
        return self.schedules


class UpcomingTimes(ResponseModel, frozen=True, kw_only=True):
    """The next times of a schedule, soonest first."""

    data: list[datetime]


class SyncedSchedules(ResponseModel, frozen=True, kw_only=True):
    """The result of a sync: what changed for each schedule of the project's source."""

    created: list[Schedule]
    updated: list[Schedule]
    removed: list[Schedule]
    unchanged: list[Schedule]


class ScheduleRun(ResponseModel, frozen=True, kw_only=True):
    """A run that a schedule started. `run_execution_id` is the server's internal id of the run."""

    run_id: str
    run_execution_id: str
    schedule_id: str
