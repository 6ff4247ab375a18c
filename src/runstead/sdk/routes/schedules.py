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
from runstead.sdk.routes.call import Call, changes, idempotent, members, new_key, query
from runstead.sdk.routes.create import RuntimeTargetKind
from runstead.sdk.routes.route import Resource, S_co, every, route

ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]


class Schedules(Resource[S_co]):
    """404 for a schedule that is unknown or not visible to the caller."""

    @route
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
        """`POST /projects/{ref}/schedules`: create a recurring or one-time schedule.

        `target` is {kind: task, workflow or agent, id, conversation_mode?, conversation_id?}. `schedule` has five cron
        fields in `timezone` (an IANA name; default UTC). A one-time schedule has `run_at` instead, with a time zone.
        `unique` and `debounce` are those of `runs.create`, for each run of the schedule. 400 with `errors` for invalid
        values, 409 SCHEDULE_LIMIT_REACHED.
        """
        body = members(
            name=name,
            target=target,
            schedule=schedule,
            run_at=run_at,
            timezone=timezone,
            config=config,
            timeout_seconds=timeout_seconds,
            backoff_limit=backoff_limit,
            concurrency_policy=concurrency_policy,
            max_runs=max_runs,
            max_staleness_seconds=max_staleness_seconds,
            concurrency_key=concurrency_key,
            unique=unique,
            debounce=debounce,
            runtime_target_kind=runtime_target_kind,
            runtime_target_environment_id=runtime_target_environment_id,
            runtime_target_branch_id=runtime_target_branch_id,
        )
        where = self._in_project(project, "schedules")
        return idempotent("POST", where, ScheduleAnswer, body=body, key=idempotency_key)

    @route
    def list(
        self,
        *,
        status: Literal["active", "paused", "deleting"] | None = None,
        source_trigger_id: str | None = None,
        cursor: str | None = None,
        project: str | None = None,
    ) -> Call[ScheduleList]:
        """`GET /projects/{ref}/schedules`, oldest first. `page_info.next` is the next page's cursor."""
        parameters = query(status=status, source_trigger_id=source_trigger_id, cursor=cursor)
        return Call("GET", self._in_project(project, "schedules"), ScheduleList, parameters)

    iter = every(list, Schedule)

    @route
    def get(self, schedule_id: str, *, project: str | None = None) -> Call[Schedule]:
        """`GET /projects/{ref}/schedules/{id}`"""
        return Call("GET", self._in_project(project, "schedules", schedule_id), Schedule)

    @route
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
        """`PATCH /projects/{ref}/schedules/{id}`: change the members that are given.

        `schedule` and `run_at` replace each other. None removes `max_runs`, `max_staleness_seconds`,
        `concurrency_key`, `unique` and `debounce`. 400 with `errors`, 409 SCHEDULE_FROM_SOURCE for a schedule of the project's source, 409 SCHEDULE_DELETING.
        """
        body = changes(
            name=name,
            target=target,
            schedule=schedule,
            run_at=run_at,
            timezone=timezone,
            config=config,
            timeout_seconds=timeout_seconds,
            backoff_limit=backoff_limit,
            concurrency_policy=concurrency_policy,
            max_runs=max_runs,
            max_staleness_seconds=max_staleness_seconds,
            concurrency_key=concurrency_key,
            unique=unique,
            debounce=debounce,
            runtime_target_kind=runtime_target_kind,
            runtime_target_environment_id=runtime_target_environment_id,
            runtime_target_branch_id=runtime_target_branch_id,
        )
        return self._change(schedule_id, project, body)

    @route
    def pause(
        self, schedule_id: str, reason: str | None = None, *, project: str | None = None
    ) -> Call[ScheduleAnswer]:
        """`PATCH /projects/{ref}/schedules/{id}`: stop firing until `resume`. Its runs continue.

        `reason` is shown to people.
        """
        return self._change(schedule_id, project, members(status="paused", paused_reason=reason))

    @route
    def resume(self, schedule_id: str, *, project: str | None = None) -> Call[ScheduleAnswer]:
        """`PATCH /projects/{ref}/schedules/{id}`: fire again at the next time. Missed times are not made up for."""
        return self._change(schedule_id, project, {"status": "active"})

    def _change(self, schedule_id: str, project: str | None, body: Mapping[str, Any]) -> Call[ScheduleAnswer]:
        where = self._in_project(project, "schedules", schedule_id)
        return idempotent("PATCH", where, ScheduleAnswer, body=body)

    @route
    def delete(self, schedule_id: str, *, project: str | None = None) -> Call[ScheduleAnswer]:
        """`DELETE /projects/{ref}/schedules/{id}`: stop firing, and delete the schedule when its runs have ended.

        The runs stay. 409 SCHEDULE_FROM_SOURCE for a schedule of the project's source. A retry after no answer may be
        404: then the schedule is deleted.
        """
        return Call("DELETE", self._in_project(project, "schedules", schedule_id), ScheduleAnswer)

    @route
    def upcoming(
        self, schedule_id: str, *, count: int | None = None, project: str | None = None
    ) -> Call[UpcomingTimes]:
        """`GET /projects/{ref}/schedules/{id}/upcoming`: the next times at which it fires; none while it is paused.

        `count` is at most 100; default 10.
        """
        where = self._in_project(project, "schedules", schedule_id, "upcoming")
        return Call("GET", where, UpcomingTimes, query(count=count))

    @route
    def sync(
        self, schedules: Sequence[Mapping[str, Any]], *, app: str | None = None, project: str | None = None
    ) -> Call[SyncedSchedules]:
        """`PUT /projects/{ref}/source-schedules`: replace the schedules that the project's source defines.

        Each has the members of `create` and a `source_trigger_id`, and may have `source_path` and
        `source_hash`. A schedule with the same hash does not change. With `app`, they are the schedules of one app;
        those of other apps and sources do not change. After 400 with `errors`, or 409
        SCHEDULE_LIMIT_REACHED, no schedule has changed.
        """
        where = self._in_project(project, "source-schedules")
        return Call("PUT", where, SyncedSchedules, body=members(schedules=list(schedules), app=app))

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
