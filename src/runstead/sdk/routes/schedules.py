"""Schedules of a project."""

from collections.abc import Mapping
from typing import Any, Literal

from runstead.sdk.call import Call, members, new_key, path, query
from runstead.sdk.route import Described, route
from runstead.sdk.schedule import Schedule, ScheduleAnswer, ScheduleList, ScheduleRun


class ScheduleRoutes(Described):
    """404 for a schedule that is unknown or not visible to the caller."""

    @route
    def create_schedule(
        self,
        name: str,
        target: Mapping[str, Any],
        schedule: str,
        *,
        timezone: str | None = None,
        config: Mapping[str, Any] | None = None,
        timeout_seconds: int | None = None,
        backoff_limit: int | None = None,
        concurrency_policy: Literal["Allow", "Forbid", "Replace"] | None = None,
        max_runs: int | None = None,
        runtime_target_kind: Literal["main_branch", "environment", "preview_branch"] | None = None,
        runtime_target_environment_id: str | None = None,
        runtime_target_branch_id: str | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ScheduleAnswer]:
        """`POST /projects/{ref}/schedules`. `target` is {kind: task, workflow or agent, id, conversation_mode?,
        conversation_id?}; `schedule` five fields of cron, read in `timezone` (an IANA name, else UTC).

        400 with `errors` for what is not valid, 409 SCHEDULE_LIMIT_REACHED.
        """
        body = members(
            name=name,
            target=target,
            schedule=schedule,
            timezone=timezone,
            config=config,
            timeout_seconds=timeout_seconds,
            backoff_limit=backoff_limit,
            concurrency_policy=concurrency_policy,
            max_runs=max_runs,
            runtime_target_kind=runtime_target_kind,
            runtime_target_environment_id=runtime_target_environment_id,
            runtime_target_branch_id=runtime_target_branch_id,
        )
        where = path("projects", self._project(project), "schedules")
        return Call("POST", where, ScheduleAnswer, body=body, idempotency_key=idempotency_key or new_key())

    @route
    def list_schedules(
        self,
        *,
        status: Literal["active", "paused", "deleting"] | None = None,
        source_trigger_id: str | None = None,
        project: str | None = None,
    ) -> Call[ScheduleList]:
        """`GET /projects/{ref}/schedules`: all of them, oldest first."""
        asked = query(status=status, source_trigger_id=source_trigger_id)
        return Call("GET", path("projects", self._project(project), "schedules"), ScheduleList, asked)

    @route
    def get_schedule(self, schedule_id: str, *, project: str | None = None) -> Call[Schedule]:
        """`GET /projects/{ref}/schedules/{id}`"""
        return Call("GET", path("projects", self._project(project), "schedules", schedule_id), Schedule)

    @route
    def run_schedule(
        self,
        schedule_id: str,
        *,
        run_name: str | None = None,
        idempotency_key: str | None = None,
        project: str | None = None,
    ) -> Call[ScheduleRun]:
        """`POST /projects/{ref}/schedules/{id}/runs`: start a run now. The same key gives the same run, for ever;
        without one, every call starts a run of its own. 409 SCHEDULE_COMPLETED after `max_runs`.
        """
        # The key in the body is enough: a repeat that overtakes the first call finds the same run.
        body = members(idempotency_key=idempotency_key or new_key(), run_name=run_name)
        where = path("projects", self._project(project), "schedules", schedule_id, "runs")
        return Call("POST", where, ScheduleRun, body=body)
