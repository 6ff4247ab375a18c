"""Routes of schedules."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from runstead.sdk.models.schedule import (
    Schedule,
    ScheduleAnswer,
    ScheduleList,
    ScheduleRun,
    SyncedSchedules,
    UpcomingTimes,
)
from runstead.sdk.routes.call import Call, members, new_key
from runstead.sdk.routes.create import RuntimeTargetKind
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every, route

ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]


class Schedules(Resource[S_co]):
    """404 for a schedule that is unknown or not visible to the caller."""

    @endpoint("POST", "/projects/{ref}/schedules", key="new")
    def create(
        self,
        name: str,
        target: Mapping[str, Any],
        schedule: str | None = None,
        *,
        run_at: datetime | None = None,
        timezone: str | None = None,
        config: Mapping[str, Any] | None = None,
        timeout_seconds: int | None = None,
        backoff_limit: int | None = None,
        concurrency_policy: ConcurrencyPolicy | None = None,
        max_runs: int | None = None,
        max_staleness_seconds: int | None = None,
        concurrency_key: str | None = None,
        unique: Mapping[str, Any] | None = None,
        debounce: Mapping[str, Any] | None = None,
        runtime_target_kind: RuntimeTargetKind | None = None,
        runtime_target_environment_id: str | None = None,
        runtime_target_branch_id: str | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ScheduleAnswer]:
        """Create a recurring or one-time schedule.

        `target` is {kind: task, workflow or agent, id, conversation_mode?, conversation_id?}. `schedule` has five cron
        fields in `timezone` (an IANA name; default UTC). A one-time schedule has `run_at` instead, with a time zone.
        `unique` and `debounce` are those of `runs.create`, for each run of the schedule. 400 with `errors` for invalid
        values, 409 SCHEDULE_LIMIT_REACHED.
        """

    @endpoint("GET", "/projects/{ref}/schedules")
    def list(
        self,
        *,
        status: Literal["active", "paused", "deleting"] | None = None,
        source_trigger_id: str | None = None,
        cursor: str | None = None,
        project: str | None = None,
    ) -> Call[ScheduleList]:
        """Oldest first. `page_info.next` is the next page's cursor."""

    iter = every(list, Schedule)

    @endpoint("GET", "/projects/{ref}/schedules/{schedule_id}")
    def get(self, schedule_id: str, *, project: str | None = None) -> Call[Schedule]: ...

    @endpoint("PATCH", "/projects/{ref}/schedules/{schedule_id}", key="new")
    def update(
        self,
        schedule_id: str,
        *,
        name: str | UnsetType = UNSET,
        target: Mapping[str, Any] | UnsetType = UNSET,
        schedule: str | UnsetType = UNSET,
        run_at: datetime | UnsetType = UNSET,
        timezone: str | UnsetType = UNSET,
        config: Mapping[str, Any] | UnsetType = UNSET,
        timeout_seconds: int | UnsetType = UNSET,
        backoff_limit: int | UnsetType = UNSET,
        concurrency_policy: ConcurrencyPolicy | UnsetType = UNSET,
        max_runs: int | UnsetType | None = UNSET,
        max_staleness_seconds: int | UnsetType | None = UNSET,
        concurrency_key: str | UnsetType | None = UNSET,
        unique: Mapping[str, Any] | UnsetType | None = UNSET,
        debounce: Mapping[str, Any] | UnsetType | None = UNSET,
        runtime_target_kind: RuntimeTargetKind | UnsetType = UNSET,
        runtime_target_environment_id: str | UnsetType | None = UNSET,
        runtime_target_branch_id: str | UnsetType | None = UNSET,
        project: str | None = None,
    ) -> Call[ScheduleAnswer]:
        """Change the members that are given.

        `schedule` and `run_at` replace each other. None removes `max_runs`, `max_staleness_seconds`,
        `concurrency_key`, `unique` and `debounce`. 400 with `errors`, 409 SCHEDULE_FROM_SOURCE for a schedule of the
        project's source, 409 SCHEDULE_DELETING.
        """

    @endpoint(
        "PATCH",
        "/projects/{ref}/schedules/{schedule_id}",
        key="new",
        body={"status": "paused"},
        names={"reason": "paused_reason"},
    )
    def pause(
        self, schedule_id: str, reason: str | None = None, *, project: str | None = None
    ) -> Call[ScheduleAnswer]:
        """Stop firing until `resume`. Its runs continue.

        `reason` is shown to people.
        """

    @endpoint("PATCH", "/projects/{ref}/schedules/{schedule_id}", key="new", body={"status": "active"})
    def resume(self, schedule_id: str, *, project: str | None = None) -> Call[ScheduleAnswer]:
        """Fire again at the next time. Missed times are not made up for."""

    @endpoint("DELETE", "/projects/{ref}/schedules/{schedule_id}")
    def delete(self, schedule_id: str, *, project: str | None = None) -> Call[ScheduleAnswer]:
        """Stop firing, and delete the schedule when its runs have ended.

        The runs stay. 409 SCHEDULE_FROM_SOURCE for a schedule of the project's source. A retry after no answer may be
        404: then the schedule is deleted.
        """

    @endpoint("GET", "/projects/{ref}/schedules/{schedule_id}/upcoming")
    def upcoming(
        self, schedule_id: str, *, count: int | None = None, project: str | None = None
    ) -> Call[UpcomingTimes]:
        """The next times at which it fires; none while it is paused.

        `count` is at most 100; default 10.
        """

    @endpoint("PUT", "/projects/{ref}/source-schedules")
    def sync(
        self, schedules: Sequence[Mapping[str, Any]], *, app: str | None = None, project: str | None = None
    ) -> Call[SyncedSchedules]:
        """Replace the schedules that the project's source defines.

        Each has the members of `create` and a `source_trigger_id`, and may have `source_path` and
        `source_hash`. A schedule with the same hash does not change. With `app`, they are the schedules of one app;
        those of other apps and sources do not change. After 400 with `errors`, or 409
        SCHEDULE_LIMIT_REACHED, no schedule has changed.
        """

    @route
    def run(
        self,
        schedule_id: str,
        *,
        run_name: str | None = None,
        idempotency_key: str | None = None,
        project: str | None = None,
    ) -> Call[ScheduleRun]:
        """`POST /projects/{ref}/schedules/{id}/runs`: start a run now.

        The same key always returns the same run. Without a key every call starts a run. 409 SCHEDULE_COMPLETED after
        `max_runs`.
        """
        # The key in the body is sufficient: a retry that arrives before the first call returns the same run.
        body = members(idempotency_key=idempotency_key or new_key(), run_name=run_name)
        where = self._in_project(project, "schedules", schedule_id, "runs")
        return Call("POST", where, ScheduleRun, body=body)
