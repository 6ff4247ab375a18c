"""Schedules: what shall run again and again, when, and how it went (contract A7). Times are ms since 1970 UTC."""

from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from runstead import cron, limits
from runstead.errors import Error
from runstead.run import Run, RunStatus, RuntimeTargetKind

ScheduleStatus = Literal["active", "paused", "deleting"]
ScheduleTargetKind = Literal["task", "workflow", "agent"]
ConversationMode = Literal["none", "create_new", "existing"]
DefinitionSource = Literal["manual", "source"]
ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]
Health = Literal["healthy", "failing"]


class Schedule(msgspec.Struct, frozen=True):
    """One schedule as it is stored: a row. Members are named as in the public object, where the target's are nested.

    `config` and `integration_requirements` are JSON text. Engines keep the fields as columns in this order.
    """

    id: str
    project_id: str
    name: str
    target_kind: ScheduleTargetKind
    target_id: str
    schedule: str  # five fields of cron
    created_at: int
    updated_at: int
    timezone: str = "UTC"
    status: ScheduleStatus = "active"
    # Agent targets: where their runs speak. `existing` has the id, the others make a conversation for each run.
    conversation_mode: ConversationMode | None = None
    conversation_id: str | None = None
    definition_source: DefinitionSource = "manual"
    source_trigger_id: str | None = None
    source_path: str | None = None
    source_hash: str | None = None
    runtime_target_kind: RuntimeTargetKind = "main_branch"
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    timeout_seconds: int = limits.schedule_timeout_s_default
    backoff_limit: int = limits.schedule_backoff_limit_default
    concurrency_policy: ConcurrencyPolicy = "Forbid"
    max_runs: int | None = None
    run_count: int = 0
    last_scheduled_at: int | None = None
    last_successful_at: int | None = None
    last_failure_at: int | None = None
    last_failure_code: str | None = None
    last_failure_message: str | None = None
    last_failure_run_id: str | None = None
    paused_reason: str | None = None
    paused_at: int | None = None
    completed_at: int | None = None  # when run_count reached max_runs
    created_by: str | None = None
    # Grows by one with every write: the guard of every update.
    version: int = 1
    integration_requirements: bytes = b"[]"
    config: bytes = b"{}"

    @property
    def target(self) -> str:
        """As runs name it: `task:inventory`."""
        return f"{self.target_kind}:{self.target_id}"

    @property
    def health(self) -> Health | None:
        """How the last run that completed or failed did; None before the first. A cancelled run says nothing."""
        if self.last_failure_at is None:
            return None if self.last_successful_at is None else "healthy"
        if self.last_successful_at is None or self.last_failure_at >= self.last_successful_at:
            return "failing"
        return "healthy"


SCHEDULE_FIELDS: Final = Schedule.__struct_fields__


def check(schedule: Schedule, now: int) -> None:
    """INVALID_REQUEST with a sentence where something in it cannot be: cron, time zone, conversation, config's size."""
    cron.check(schedule.schedule)
    cron.zone(schedule.timezone)
    if next_fire(schedule, now) is None:
        raise _refused("schedule", f"The schedule {schedule.schedule!r} names a time that never comes")
    mode, named = schedule.conversation_mode, schedule.conversation_id is not None
    if schedule.target_kind != "agent" and (mode is not None or named):
        raise _refused(
            "target", f"Only an agent target takes a conversation, a {schedule.target_kind} does not"
        )
    if (mode == "existing") != named:
        raise _refused(
            "target.conversation_id",
            "conversation_id goes with the conversation_mode existing, which needs it; no other mode takes one",
        )
    if len(schedule.config) > limits.schedule_config_bytes_max:
        kib = limits.schedule_config_bytes_max // limits.KIB
        raise _refused("config", f"The config of a schedule has at most {kib} KiB as JSON")


def _refused(member: str, sentence: str) -> Error:
    return Error("INVALID_REQUEST", sentence, errors=((f"$.{member}", sentence),))


def next_fire(schedule: Schedule, after: int) -> int | None:
    """The first moment after `after` at which the schedule is due, by its cron expression and time zone alone."""
    return cron.next_time(schedule.schedule, schedule.timezone, after)


def fired(schedule: Schedule, now: int) -> Schedule:
    """The row once one more run was created. SCHEDULE_COMPLETED where `max_runs` were."""
    if schedule.max_runs is not None and schedule.run_count >= schedule.max_runs:
        raise Error(
            "SCHEDULE_COMPLETED", f"The schedule has had its {schedule.max_runs} run(s) and starts no more"
        )
    count = schedule.run_count + 1
    return replace(
        schedule,
        run_count=count,
        last_scheduled_at=now,
        completed_at=now if count == schedule.max_runs else schedule.completed_at,
        version=schedule.version + 1,
    )


class _Failure(msgspec.Struct, frozen=True):
    """As much of a run's error as its schedule tells."""

    message: str = "Run failed"
    code: str | None = None


def ended(schedule: Schedule, run: Run) -> Schedule:
    """The row once a run of it has ended; the same object where that says nothing about the schedule."""
    assert run.completed_at is not None
    if run.status is RunStatus.COMPLETED:
        return replace(schedule, last_successful_at=run.completed_at, version=schedule.version + 1)
    if run.status is not RunStatus.FAILED:
        return schedule
    error = _Failure() if run.error is None else msgspec.json.decode(run.error, type=_Failure)
    return replace(
        schedule,
        last_failure_at=run.completed_at,
        last_failure_code=error.code,
        last_failure_message=error.message[: limits.schedule_failure_chars_max],
        last_failure_run_id=run.run_id,
        version=schedule.version + 1,
    )
