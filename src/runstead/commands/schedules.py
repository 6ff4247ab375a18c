"""Schedules: create, read, change and delete them, and start a run by hand."""

import asyncio
import uuid
from collections.abc import Sequence

import msgspec

from runstead.commands import locate
from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.commands.whole_lists import whole_list
from runstead.core import limits, trace_context
from runstead.core.clock import now_ms
from runstead.core.errors import Error, existing, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope
from runstead.core.runs import transitions
from runstead.core.runs.flow import wanted_keys
from runstead.core.runs.run import RuntimeTargetKind
from runstead.core.runs.transition import Loaded, Transition, Want
from runstead.core.runs.transitions import Firing
from runstead.core.schedules import edits, schedule as rules
from runstead.core.schedules.edits import Edit, refuse_more_than_fit
from runstead.core.schedules.schedule import Schedule
from runstead.ports.store import ListPage, RunKey, ScheduleQuery, Written


class NewSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule to create. It fires at the times of a cron expression, or one time at `run_at` (ms).

    `config` is JSON text, `flow` that of `stored_flow`. Durations are in seconds.
    """

    name: str
    target_kind: rules.ScheduleTargetKind
    target_id: str
    schedule: str = ""
    run_at: int | None = None
    timezone: str = "UTC"
    conversation_mode: rules.ConversationMode | None = None
    conversation_id: str | None = None
    runtime_target_kind: RuntimeTargetKind = "main_branch"
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    config: bytes = b"{}"
    timeout_seconds: int = limits.schedule_timeout_s_default
    backoff_limit: int = limits.schedule_backoff_limit_default
    concurrency_policy: rules.ConcurrencyPolicy = "Forbid"
    max_runs: int | None = None
    max_staleness_seconds: int | None = None
    concurrency_key: str | None = None
    flow: bytes | None = None


@needs(Scope.RUNS_WRITE, bound="cannot create schedules", records="schedule.create")
async def create(access: Access, new: NewSchedule, idempotency: Idempotency = None) -> Schedule:
    """Create a schedule.

    Raises INVALID_REQUEST, NOT_FOUND (project, conversation), SCHEDULE_LIMIT_REACHED.
    """
    schedule = draft(new, access.project_id, access.user)
    rules.check(schedule, now_ms())
    await locate.check_conversation(access.app, access.principal, access.project_id, schedule.conversation_id)

    def decide(count: int, now: int) -> Schedule:
        refuse_more_than_fit(count + 1)
        return rules.begun(schedule, now)

    return await access.recording.schedules.create(access.project_id, decide, idempotency)


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


@needs(Scope.RUNS_WRITE, bound="cannot change schedules", records="schedule.change")
async def change(access: Access, schedule_id: str, wanted: Edit, idempotency: Idempotency = None) -> Schedule:
    """Edit, pause or resume a schedule.

    Raises INVALID_REQUEST, NOT_FOUND, SCHEDULE_DELETING, SCHEDULE_FROM_SOURCE.
    """
    project_id, conversation_id = access.project_id, wanted.members.get("conversation_id")
    await locate.check_conversation(access.app, access.principal, project_id, conversation_id)
    return await access.recording.schedules.change(
        project_id, schedule_id, lambda schedule, now: edits.edit(schedule, wanted, now), idempotency
    )


@needs(Scope.RUNS_WRITE, bound="cannot delete schedules", records="schedule.delete")
async def delete(access: Access, schedule_id: str) -> Schedule:
    """Stop a schedule, and delete it when its runs have ended. Raises NOT_FOUND, SCHEDULE_FROM_SOURCE."""
    return await access.recording.schedules.change(access.project_id, schedule_id, edits.delete)


async def upcoming(app: App, principal: Principal, ref: str, schedule_id: str, count: int) -> list[int]:
    """Return the next times (ms) at which the schedule fires."""
    schedule = await get(app, principal, ref, schedule_id)
    return await asyncio.to_thread(rules.upcoming, schedule, count, await now(app))


async def now(app: App) -> int:
    """Return the store's time (ms)."""
    return await app.store.schedules.now()


async def health_time(app: App, schedules: Sequence[Schedule]) -> int:
    """Return the time (ms) at which to judge the health of schedules; 0 if none of them has a health."""
    judged = any(schedule.max_staleness_seconds is not None for schedule in schedules)
    return await now(app) if judged else 0


@needs(Scope.RUNS_READ, bound="cannot list schedules")
async def page(
    access: Access,
    status: rules.ScheduleStatus | None,
    source_trigger_id: str | None,
    after: tuple[int, str] | None = None,
) -> ListPage[Schedule]:
    """List the project's schedules, oldest first, from the one after (created_at, id) on."""
    # The limit does not count schedules in deletion, so there can be twice as many for a short time.
    limit = 2 * limits.schedules_per_project_max
    query = ScheduleQuery(access.project_id, limit, status, source_trigger_id, after)
    return await access.store.schedules.page(query)


async def without_config(app: App, principal: Principal, ref: str) -> list[Schedule]:
    """List all schedules of the project, oldest first, without their `config`."""
    return await whole_list(
        lambda after: page(app, principal, ref, None, None, after),
        lambda schedule: msgspec.structs.replace(schedule, config=None),
    )


@needs(Scope.RUNS_READ, bound="cannot read schedules")
async def get(access: Access, schedule_id: str) -> Schedule:
    """Return a schedule. Raises NOT_FOUND."""
    return existing(await access.store.schedules.get(access.project_id, schedule_id), "Schedule")


@needs(Scope.RUNS_WRITE, bound="cannot create other runs")
async def run(
    access: Access, schedule_id: str, key: str, run_name: str | None, idempotency: Idempotency = None
) -> Written:
    """Start a run of the schedule now, whatever its status and concurrency policy.

    A repeat with the same key returns the run of the first call, and a run that the schedule's flow control finds is
    returned too, with `transition.duplicate` true. Raises NOT_FOUND, SCHEDULE_COMPLETED, SCHEDULE_DELETING,
    RUN_ID_CONFLICT; STORE_BUSY if the keys of its runs changed meanwhile.
    """
    app, principal = access.app, access.principal
    schedule = await app.store.schedules.get(access.project_id, schedule_id)
    push_agent = schedule.target_id if schedule is not None and schedule.target_kind == "agent" else None
    firing = Firing(
        run_id=run_id(schedule_id, key),
        uid=str(uuid.uuid4()),
        message_id=str(uuid.uuid4()),
        conversation_id=str(uuid.uuid4()),
        trigger_kind="manual",
        title=run_name,
        created_by=access.user,
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
    run_key = RunKey(access.project_id, firing.run_id)
    written = await app.store.runs.apply(run_key, decide, want, idempotency)
    app.publish(written)
    return written


def run_id(schedule_id: str, key: str) -> str:
    """Derive a run id from the schedule and the key. Raises NOT_FOUND if the schedule's id is not a UUID."""
    try:
        return f"run_{uuid.uuid5(uuid.UUID(schedule_id), key)}"
    except ValueError:
        raise not_found("Schedule") from None
