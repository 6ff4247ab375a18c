"""Schedules: recurring and one-time runs, their times and their health (contract A7).

Times are ms since 1970 UTC.
"""

import uuid
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error, invalid_at
from runstead.core.runs.flow import NO_FLOW, Debounce, Flow, Unique
from runstead.core.runs.run import Run, RunStatus, RuntimeTargetKind
from runstead.core.schedules import cron

ScheduleStatus = Literal["active", "paused", "deleting"]
ScheduleTargetKind = Literal["task", "workflow", "agent"]
ConversationMode = Literal["none", "create_new", "existing"]
DefinitionSource = Literal["manual", "source"]
ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]
Health = Literal["healthy", "stale", "failed"]

UNPLANNED: Final = 0
"""`next_fire_at` of a schedule that is not planned yet: the scheduler plans it, and it fires nothing before."""
_MINUTE_MS: Final = 60_000


class Schedule(msgspec.Struct, frozen=True):
    """One schedule as a row of the store. Members are named as in the public object, which nests those of the
    target.

    `config`, `integration_requirements` and `flow` are JSON text. Engines store the fields as columns with these
    names.
    """

    id: str
    project_id: str
    name: str
    target_kind: ScheduleTargetKind
    target_id: str
    schedule: str  # five fields of cron; empty for a one-time schedule, which has `run_at`
    created_at: int
    updated_at: int
    timezone: str = "UTC"
    status: ScheduleStatus = "active"
    # Agent targets: the conversation of their runs. `existing` has the id; the other modes create one for
    # each run.
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
    completed_at: int | None = None  # when run_count reached max_runs, or when `run_at` passed
    created_by: str | None = None
    run_at: int | None = None
    max_staleness_seconds: int | None = None
    # When the scheduler handles it next: to fire it while it is active, to remove it while it is being
    # deleted.
    next_fire_at: int | None = None
    # Firings that the concurrency policy or the unique key skipped, and planned times at which no server ran:
    # the latest, and the number.
    last_skipped_at: int | None = None
    last_skipped_reason: str | None = None
    skipped_count: int = 0
    last_missed_at: int | None = None
    missed_count: int = 0
    concurrency_key: str | None = None  # of its runs
    flow: bytes | None = None  # `unique` and `debounce` of its runs: see `stored_flow`
    # Grows by one with every write: the guard of every update.
    version: int = 1
    integration_requirements: bytes = b"[]"
    config: bytes = b"{}"

    @property
    def target(self) -> str:
        """The target as in a run, such as `task:inventory`."""
        return f"{self.target_kind}:{self.target_id}"

    @property
    def flow_control(self) -> Flow:
        """The flow control of its runs."""
        flow = NO_FLOW if self.flow is None else msgspec.json.decode(self.flow, type=Flow)
        return flow if self.concurrency_key is None else replace(flow, concurrency_key=self.concurrency_key)

    def health(self, now: int) -> Health | None:
        """Health at `now` (ms), by the last run that completed or failed, or the last firing that created no
        run.

        `stale`: the schedule still fires, and its last success (or its creation) is older than
        `max_staleness_seconds`. None before any run has ended. Cancelled runs do not count.
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
        """Whether the schedule creates runs at its times."""
        return self.status == "active" and self.completed_at is None

    @property
    def runs_looked_at(self) -> int:
        """How many of its runs that have not ended a firing or a deletion needs to know, the oldest ones."""
        if self.concurrency_policy == "Replace":
            return limits.schedule_replaced_runs_max
        return 1 if self.status == "deleting" or self.concurrency_policy == "Forbid" else 0


def check(schedule: Schedule, now: int) -> None:
    """INVALID_REQUEST if a member is invalid: the times, the time zone, the conversation or the size of the config."""
    if bool(schedule.schedule) == (schedule.run_at is not None):
        raise invalid_at(
            "$.schedule", "Give either schedule (five fields of cron) or run_at (one time), not both"
        )
    cron.zone(schedule.timezone)
    if schedule.schedule:
        cron.check(schedule.schedule)
        if next_fire(schedule, now) is None:
            raise invalid_at(
                "$.schedule", f"The schedule {schedule.schedule!r} names a time that never comes"
            )
    mode, named = schedule.conversation_mode, schedule.conversation_id is not None
    if schedule.target_kind != "agent" and (mode is not None or named):
        raise invalid_at(
            "$.target", f"Only an agent target takes a conversation, a {schedule.target_kind} does not"
        )
    _check_flow(schedule)
    if (mode == "existing") != named:
        raise invalid_at(
            "$.target.conversation_id",
            "The conversation_mode existing needs a conversation_id; no other mode takes one",
        )
    if len(schedule.config) > limits.schedule_config_bytes_max:
        kib = limits.schedule_config_bytes_max // limits.KIB
        raise invalid_at("$.config", f"The config of a schedule has at most {kib} KiB as JSON")


def _check_flow(schedule: Schedule) -> None:
    flow = schedule.flow_control
    if schedule.target_kind == "agent":
        for name in Flow.__struct_fields__:
            if getattr(flow, name) is not None:
                raise invalid_at(f"$.{name}", f"A schedule of an agent takes no {name}")
    flow.check()


def stored_flow(unique: Unique | None, debounce: Debounce | None) -> bytes | None:
    """Return the `flow` of a schedule, None for a schedule without both."""
    if unique is None and debounce is None:
        return None
    return msgspec.json.encode(Flow(unique=unique, debounce=debounce))


def next_fire(schedule: Schedule, after: int) -> int | None:
    """Return the first time after `after` (ms) that its cron expression or `run_at` gives, None if there is none."""
    if schedule.run_at is not None:
        return schedule.run_at if schedule.run_at > after else None
    return cron.next_time(schedule.schedule, schedule.timezone, after)


def begun(schedule: Schedule, now: int) -> Schedule:
    """Return the row of a new schedule, planned from now on. INVALID_REQUEST if `run_at` has passed."""
    if schedule.run_at is not None and schedule.run_at <= now:
        raise invalid_at("$.run_at", "run_at has passed: a one-time schedule needs a time in the future")
    return planned(replace(schedule, created_at=now, updated_at=now), now)


def planned(schedule: Schedule, now: int) -> Schedule:
    """Return the row with its first time after now, None if it does not fire. The schedule is paused with a
    reason if its time zone is no longer in the time zone database.
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
    """Return the planned time of the firing: the latest time up to now. None if the schedule is not due."""
    at = schedule.next_fire_at
    if not schedule.fires or at is None or at == UNPLANNED or at > now:
        return None
    if schedule.run_at is not None:
        return at
    high = now
    while (
        high - at >= _MINUTE_MS
    ):  # two planned times are at least a minute apart, so none is left between them
        middle = (at + high + 1) // 2
        found = next_fire(schedule, middle - 1)
        if found is not None and found <= now:
            at = found
        else:
            high = middle - 1
    return at


def firing_id(schedule: Schedule, at: int) -> str:
    """Return the id of the run of a planned time. Every replica and every retry computes the same id."""
    return f"run_{uuid.uuid5(uuid.UUID(schedule.id), f'firing:{at}')}"


def upcoming(schedule: Schedule, count: int, now: int) -> list[int]:
    """Return its next times, at most `count`, and at most as many as `max_runs` leaves."""
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
    """Return the row after another run was created. SCHEDULE_COMPLETED if it has had all its runs."""
    if schedule.completed_at is not None:
        reason = (
            "its one-time run was due"
            if schedule.max_runs is None
            else f"it has had its {schedule.max_runs} run(s)"
        )
        raise Error("SCHEDULE_COMPLETED", f"The schedule is completed and starts no more runs: {reason}")
    count = schedule.run_count + 1
    changed = replace(schedule, run_count=count, last_scheduled_at=now, version=schedule.version + 1)
    return completed(changed, now) if count == schedule.max_runs else changed


def completed(schedule: Schedule, now: int) -> Schedule:
    return replace(schedule, completed_at=now, next_fire_at=None)


def passed(schedule: Schedule, at: int, now: int) -> Schedule:
    """Return the row after its time `at` was handled: a one-time schedule is completed, any other has its next time."""
    changed = replace(schedule, version=schedule.version + 1)
    if schedule.run_at is not None and schedule.completed_at is None:
        return completed(changed, now)
    return planned(changed, max(at, now))


def missed(schedule: Schedule, now: int) -> bool:
    """Whether the planned time was missed: no server handled it within `limits.schedule_late_ms`."""
    at = schedule.next_fire_at
    return at is not None and at != UNPLANNED and now - at >= limits.schedule_late_ms


def failed(schedule: Schedule, now: int, code: str, message: str) -> Schedule:
    """Return the row after a firing that could not create a run."""
    return replace(
        schedule,
        last_failure_at=now,
        last_failure_code=code,
        last_failure_message=message[: limits.schedule_failure_chars_max],
        last_failure_run_id=None,
        version=schedule.version + 1,
    )


class _Failure(msgspec.Struct, frozen=True):
    """The members of a run's error that its schedule shows."""

    message: str = "Run failed"
    code: str | None = None


def ended(schedule: Schedule, run: Run) -> Schedule:
    """Return the row after one of its runs has ended, or the same object if the run was cancelled."""
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
