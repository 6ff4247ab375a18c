"""Schedules: what shall run again and again, when, and how it went (contract A7). Times are ms since 1970 UTC."""

import uuid
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import Run, RunStatus, RuntimeTargetKind
from runstead.core.schedules import cron

ScheduleStatus = Literal["active", "paused", "deleting"]
ScheduleTargetKind = Literal["task", "workflow", "agent"]
ConversationMode = Literal["none", "create_new", "existing"]
DefinitionSource = Literal["manual", "source"]
ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]
Health = Literal["healthy", "stale", "failed"]

UNPLANNED: Final = 0
"""`next_fire_at` of one that nobody has planned yet: it is looked at once, and fires nothing before."""
_MINUTE_MS: Final = 60_000


class Schedule(msgspec.Struct, frozen=True):
    """One schedule as it is stored: a row. Members are named as in the public object, where the target's are nested.

    `config` and `integration_requirements` are JSON text. Engines keep the fields as columns of these names.
    """

    id: str
    project_id: str
    name: str
    target_kind: ScheduleTargetKind
    target_id: str
    schedule: str  # five fields of cron; empty for one that runs once, at `run_at`
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
    completed_at: int | None = None  # when run_count reached max_runs, or `run_at` had come
    created_by: str | None = None
    run_at: int | None = None
    max_staleness_seconds: int | None = None
    # When the scheduler must look at it next: to fire while it is active, to remove it while it is being deleted.
    next_fire_at: int | None = None
    # Firings that the policy held back, and planned times at which no server was there: the latest, and how many.
    last_skipped_at: int | None = None
    last_skipped_reason: str | None = None
    skipped_count: int = 0
    last_missed_at: int | None = None
    missed_count: int = 0
    # Grows by one with every write: the guard of every update.
    version: int = 1
    integration_requirements: bytes = b"[]"
    config: bytes = b"{}"

    @property
    def target(self) -> str:
        """As runs name it: `task:inventory`."""
        return f"{self.target_kind}:{self.target_id}"

    def health(self, now: int) -> Health | None:
        """How the last run that completed or failed did, or the last firing, where it could not make a run; `stale` where
        the last success (or the creation) is longer ago than it may be, which only one that still fires can be. None
        before anything has ended. A cancelled run says nothing.
        """
        success, failure = self.last_successful_at, self.last_failure_at
        if failure is not None and (success is None or failure >= success):
            return "failed"
        if self.max_staleness_seconds is not None and self.fires:
            since = self.created_at if success is None else success
            if now - since > self.max_staleness_seconds * 1000:
                return "stale"
        return None if success is None else "healthy"

    @property
    def fires(self) -> bool:
        """Whether times make runs of it."""
        return self.status == "active" and self.completed_at is None

    @property
    def runs_looked_at(self) -> int:
        """How many of its runs that have not ended a firing or a deletion needs to know, the oldest ones."""
        if self.concurrency_policy == "Replace":
            return limits.schedule_replaced_runs_max
        return 1 if self.status == "deleting" or self.concurrency_policy == "Forbid" else 0


SCHEDULE_FIELDS: Final = Schedule.__struct_fields__


def check(schedule: Schedule, now: int) -> None:
    """INVALID_REQUEST with a sentence where something in it cannot be: times, time zone, conversation, config's size."""
    if bool(schedule.schedule) == (schedule.run_at is not None):
        raise _refused(
            "schedule", "Give either schedule (five fields of cron) or run_at (one moment), and not both"
        )
    cron.zone(schedule.timezone)
    if schedule.schedule:
        cron.check(schedule.schedule)
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
    """The first moment after `after` at which the schedule is due, by its times and its time zone alone."""
    if schedule.run_at is not None:
        return schedule.run_at if schedule.run_at > after else None
    return cron.next_time(schedule.schedule, schedule.timezone, after)


def begun(schedule: Schedule, now: int) -> Schedule:
    """The row of a new one: made now, and planned. INVALID_REQUEST where `run_at` has passed."""
    if schedule.run_at is not None and schedule.run_at <= now:
        raise _refused(
            "run_at", "run_at has passed: a schedule that runs once needs a moment that is still to come"
        )
    return planned(replace(schedule, created_at=now, updated_at=now), now)


def planned(schedule: Schedule, now: int) -> Schedule:
    """The row with its next time, the first after now; without one where it does not fire. A time zone that is gone
    from the database of zones pauses it, for all to see.
    """
    if not schedule.fires:
        return replace(schedule, next_fire_at=None)
    try:
        return replace(schedule, next_fire_at=next_fire(schedule, now))
    except Error as trouble:
        return paused(schedule, now, trouble.message)


def paused(schedule: Schedule, now: int, reason: str | None) -> Schedule:
    return replace(schedule, status="paused", paused_at=now, paused_reason=reason, next_fire_at=None)


def firing_at(schedule: Schedule, now: int) -> int | None:
    """The time that a firing stands for: the latest that has come since it was planned. None where none is due."""
    at = schedule.next_fire_at
    if not schedule.fires or at is None or at == UNPLANNED or at > now:
        return None
    if schedule.run_at is not None:
        return at
    high = now
    while high - at >= _MINUTE_MS:  # two times are never closer, so nothing lies between once this is over
        middle = (at + high + 1) // 2
        found = next_fire(schedule, middle - 1)
        if found is not None and found <= now:
            at = found
        else:
            high = middle - 1
    return at


def firing_id(schedule: Schedule, at: int) -> str:
    """The id of the run that stands for this time: whoever makes it, and however often it is tried."""
    return f"run_{uuid.uuid5(uuid.UUID(schedule.id), f'firing:{at}')}"


def upcoming(schedule: Schedule, count: int, now: int) -> list[int]:
    """The next times at which it fires as it stands, `count` at most, and no more than runs are left to it."""
    if not schedule.fires:
        return []
    if schedule.max_runs is not None:
        count = min(count, schedule.max_runs - schedule.run_count)
    at = schedule.next_fire_at
    if at == UNPLANNED:
        at = next_fire(schedule, now)
    times: list[int] = []
    while at is not None and len(times) < count:
        times.append(at)
        at = next_fire(schedule, at)
    return times


def fired(schedule: Schedule, now: int) -> Schedule:
    """The row once one more run was created. SCHEDULE_COMPLETED where it has had all its runs."""
    if schedule.completed_at is not None:
        told = (
            "its one time has come"
            if schedule.max_runs is None
            else f"it has had its {schedule.max_runs} run(s)"
        )
        raise Error("SCHEDULE_COMPLETED", f"The schedule is completed and starts no more: {told}")
    count = schedule.run_count + 1
    changed = replace(schedule, run_count=count, last_scheduled_at=now, version=schedule.version + 1)
    return completed(changed, now) if count == schedule.max_runs else changed


def completed(schedule: Schedule, now: int) -> Schedule:
    return replace(schedule, completed_at=now, next_fire_at=None)


def passed(schedule: Schedule, at: int, now: int) -> Schedule:
    """The row once its time `at` is dealt with: what runs once is completed, anything else has its next time."""
    changed = replace(schedule, version=schedule.version + 1)
    if schedule.run_at is not None and schedule.completed_at is None:
        return completed(changed, now)
    return planned(changed, max(at, now))


def missed(schedule: Schedule, now: int) -> bool:
    """Whether the planned time passed without a server that looked."""
    at = schedule.next_fire_at
    return at is not None and at != UNPLANNED and now - at >= limits.schedule_late_ms


def failed(schedule: Schedule, now: int, code: str, message: str) -> Schedule:
    """The row once a firing could make no run."""
    return replace(
        schedule,
        last_failure_at=now,
        last_failure_code=code,
        last_failure_message=message[: limits.schedule_failure_chars_max],
        last_failure_run_id=None,
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
