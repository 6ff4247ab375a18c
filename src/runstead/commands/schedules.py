"""Schedules: create, read, change and delete them, and start a run by hand."""

import asyncio
import uuid
from collections.abc import Sequence

import msgspec

from runstead.commands import locate
from runstead.commands.app import App
from runstead.commands.whole_lists import whole_list
from runstead.core import limits, trace_context
from runstead.core.audit import by
from runstead.core.clock import now_ms
from runstead.core.errors import Error, existing, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope
from runstead.core.identity.project import user_uuid
from runstead.core.runs import transitions
from runstead.core.runs.flow import wanted_keys
from runstead.core.runs.run import RuntimeTargetKind
from runstead.core.runs.transition import Loaded, Transition, Want
from runstead.core.runs.transitions import Firing
from runstead.core.schedules import edits
from runstead.core.schedules.edits import Edit, refuse_more_than_fit
from runstead.core.schedules.schedule import (
    ConcurrencyPolicy,
    ConversationMode,
    Schedule,
    ScheduleStatus,
    ScheduleTargetKind,
    begun,
    check,
    upcoming as next_times,
)
from runstead.ports.store import ListPage, RunKey, ScheduleQuery, Written


class NewSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule to create. It fires at the times of a cron expression, or one time at `run_at` (ms).

    `config` is JSON text, `flow` that of `stored_flow`. Durations are in seconds.
    """

    name: str
    target_kind: ScheduleTargetKind
    target_id: str
    schedule: str = ""
    run_at: int | None = None
    timezone: str = "UTC"
    conversation_mode: ConversationMode | None = None
    conversation_id: str | None = None
    runtime_target_kind: RuntimeTargetKind = "main_branch"
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    config: bytes = b"{}"
    timeout_seconds: int = limits.schedule_timeout_s_default
    backoff_limit: int = limits.schedule_backoff_limit_default
    concurrency_policy: ConcurrencyPolicy = "Forbid"
    max_runs: int | None = None
    max_staleness_seconds: int | None = None
    concurrency_key: str | None = None
    flow: bytes | None = None


async def create(
    app: App, principal: Principal, ref: str, new: NewSchedule, idempotency: Idempotency = None
) -> Schedule:
    """Create a schedule.

    Raises INVALID_REQUEST, NOT_FOUND (project, conversation), SCHEDULE_LIMIT_REACHED.
    """
    project = await locate.project(app, principal, Scope.RUNS_WRITE, ref, bound="cannot create schedules")
    schedule = draft(new, project.id, user_uuid(principal.id))
    check(schedule, now_ms())
    await locate.check_conversation(app, principal, project.id, schedule.conversation_id)

    def decide(count: int, now: int) -> Schedule:
        refuse_more_than_fit(count + 1)
        return begun(schedule, now)

    schedules = app.store.recording(by(principal, "schedule.create", project.id)).schedules
    return await schedules.create(project.id, decide, idempotency)


def draft(new: NewSchedule, project_id: str, created_by: str | None) -> Schedule:
    """Build the row of a new schedule, without its times."""
    members = msgspec.structs.asdict(new)
    if new.target_kind == "agent" and new.conversation_mode is None:
        members["conversation_mode"] = "create_new" if new.conversation_id is None else "existing"
    return Schedule(
        id=str(uuid.uuid4()),
        project_id=project_id,
        created_at=0,
        updated_at=0,
        created_by=created_by,
        **members,
    )


async def change(
    app: App, principal: Principal, ref: str, schedule_id: str, wanted: Edit, idempotency: Idempotency = None
) -> Schedule:
    """Edit, pause or resume a schedule.

    Raises INVALID_REQUEST, NOT_FOUND, SCHEDULE_DELETING, SCHEDULE_FROM_SOURCE.
    """
    project = await locate.project(app, principal, Scope.RUNS_WRITE, ref, bound="cannot change schedules")
    await locate.check_conversation(app, principal, project.id, wanted.members.get("conversation_id"))
    schedules = app.store.recording(by(principal, "schedule.change", project.id)).schedules
    return await schedules.change(
        project.id, schedule_id, lambda schedule, now: edits.edit(schedule, wanted, now), idempotency
    )


async def delete(app: App, principal: Principal, ref: str, schedule_id: str) -> Schedule:
    """Stop a schedule, and delete it when its runs have ended. Raises NOT_FOUND, SCHEDULE_FROM_SOURCE."""
    project = await locate.project(app, principal, Scope.RUNS_WRITE, ref, bound="cannot delete schedules")
    schedules = app.store.recording(by(principal, "schedule.delete", project.id)).schedules
    return await schedules.change(project.id, schedule_id, edits.delete)


async def upcoming(app: App, principal: Principal, ref: str, schedule_id: str, count: int) -> list[int]:
    """Return the next times (ms) at which the schedule fires."""
    schedule = await get(app, principal, ref, schedule_id)
    return await asyncio.to_thread(next_times, schedule, count, await now(app))


async def now(app: App) -> int:
    """Return the store's time (ms)."""
    return await app.store.schedules.now()


async def health_time(app: App, schedules: Sequence[Schedule]) -> int:
    """Return the time (ms) at which to judge the health of schedules; 0 if none of them has a health."""
    judged = any(schedule.max_staleness_seconds is not None for schedule in schedules)
    return await now(app) if judged else 0


async def page(
    app: App,
    principal: Principal,
    ref: str,
    status: ScheduleStatus | None,
    source_trigger_id: str | None,
    after: tuple[int, str] | None = None,
) -> ListPage[Schedule]:
    """List the project's schedules, oldest first, from the one after (created_at, id) on."""
    project = await locate.project(app, principal, Scope.RUNS_READ, ref, bound="cannot list schedules")
    # The limit does not count schedules in deletion, so there can be twice as many for a short time.
    limit = 2 * limits.schedules_per_project_max
    return await app.store.schedules.page(ScheduleQuery(project.id, limit, status, source_trigger_id, after))


async def without_config(app: App, principal: Principal, ref: str) -> list[Schedule]:
    """List all schedules of the project, oldest first, without their `config`."""
    return await whole_list(
        lambda after: page(app, principal, ref, None, None, after),
        lambda schedule: msgspec.structs.replace(schedule, config=None),
    )


async def get(app: App, principal: Principal, ref: str, schedule_id: str) -> Schedule:
    """Return a schedule. Raises NOT_FOUND."""
    project = await locate.project(app, principal, Scope.RUNS_READ, ref, bound="cannot read schedules")
    return existing(await app.store.schedules.get(project.id, schedule_id), "Schedule")


async def run(
    app: App,
    principal: Principal,
    ref: str,
    schedule_id: str,
    key: str,
    run_name: str | None,
    idempotency: Idempotency = None,
) -> Written:
    """Start a run of the schedule now, whatever its status and concurrency policy.

    A repeat with the same key returns the run of the first call, and a run that the schedule's flow control finds is
    returned too, with `transition.duplicate` true. Raises NOT_FOUND, SCHEDULE_COMPLETED, SCHEDULE_DELETING,
    RUN_ID_CONFLICT; STORE_BUSY if the keys of its runs changed meanwhile.
    """
    project = await locate.project(app, principal, Scope.RUNS_WRITE, ref, bound="cannot create other runs")
    schedule = await app.store.schedules.get(project.id, schedule_id)
    push_agent = schedule.target_id if schedule is not None and schedule.target_kind == "agent" else None
    firing = Firing(
        run_id=run_id(schedule_id, key),
        uid=str(uuid.uuid4()),
        message_id=str(uuid.uuid4()),
        conversation_id=str(uuid.uuid4()),
        trigger_kind="manual",
        title=run_name,
        created_by=user_uuid(principal.id),
        requested_by_user_id=principal.id if principal.kind == "user" else None,
        trace_context=trace_context.current.get(),
    )
    keys = None if schedule is None else wanted_keys(schedule.flow_control, schedule.target)

    def decide(loaded: Loaded) -> Transition:
        now = loaded.schedule
        if now is not None and wanted_keys(now.flow_control, now.target) != keys:
            raise Error("STORE_BUSY", "The schedule was changed at the same time: try again", retry_after_s=1)
        return transitions.fire(loaded, firing)

    want = Want(schedule_id=schedule_id, push_agent=push_agent, keys=keys)
    written = await app.store.runs.apply(RunKey(project.id, firing.run_id), decide, want, idempotency)
    app.publish(written)
    return written


def run_id(schedule_id: str, key: str) -> str:
    """Derive a run id from the schedule and the key. Raises NOT_FOUND if the schedule's id is not a UUID."""
    try:
        return f"run_{uuid.uuid5(uuid.UUID(schedule_id), key)}"
    except ValueError:
        raise not_found("Schedule") from None
