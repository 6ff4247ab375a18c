"""Schedules: `/projects/{project}/schedules…`."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from runstead.commands import schedules as commands
from runstead.core import limits
from runstead.core.clock import iso
from runstead.core.runs.flow import Debounce, Unique
from runstead.core.runs.run import RuntimeTargetKind
from runstead.core.schedules import schedule as rules
from runstead.core.schedules.edits import Edit
from runstead.core.schedules.schedule import Schedule
from runstead.http.answers import answer_of
from runstead.http.arguments import named, scoped, set_members
from runstead.http.bounds import between, line, text
from runstead.http.flow_bodies import DebounceBody, FlowKey, UniqueBody, debounce_of, unique_of
from runstead.http.framework import values
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import CursorQuery, listed, position_by_time
from runstead.http.framework.problems import CHANGE, LOOKUP
from runstead.http.framework.values import (
    IdempotencyKey,
    JsonObject as Object,
    Moment,
    Name,
    PageInfo,
    Positive,
    RuntimeTarget,
    Uuid,
)
from runstead.http.framework.views import Timestamp
from runstead.http.schedule_view import ScheduleView, view
from runstead.ports.store import Written

routes = Routes("Schedules")

_SCHEDULES = "/projects/{project}/schedules"
_SCHEDULE = _SCHEDULES + "/{schedule_id}"

_TargetId = Annotated[
    str,
    line(limits.target_chars_max - len("workflow:"), "Without its kind: `inventory`, not `task:inventory`."),
]
_Cron = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.cron_chars_max,
        description="Minute, hour, day of month, month, day of week; names and steps are allowed.",
        extra_json_schema={"pattern": r"^\s*[0-9A-Za-z*/,-]+(\s+[0-9A-Za-z*/,-]+){4}\s*$"},
    ),
]
_Zone = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.timezone_chars_max,
        description="A time zone of the IANA database, such as `Europe/Berlin`.",
        extra_json_schema={"pattern": rf"^[0-9A-Za-z_+/-]+{values.END}"},
    ),
]
_Timeout = Annotated[int, between(1, limits.timeout_s_max)]
_Backoff = Annotated[int, between(0, limits.backoff_limit_max)]
_Staleness = Annotated[
    int, between(1, limits.staleness_s_max, "The age of the last success after which `health` is `stale`.")
]


class ScheduleTarget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The target of a schedule. `conversation_mode` is for agents only.

    `create_new` (the default) and `none` create a conversation for each run; `existing` uses
    `conversation_id`.
    """

    kind: rules.ScheduleTargetKind
    id: _TargetId
    conversation_mode: rules.ConversationMode | None = None
    conversation_id: Uuid | None = None


class CreateSchedule(RuntimeTarget, frozen=True, kw_only=True):
    """A schedule to create: recurring with `schedule`, or one-time with `run_at`.

    `config` is passed to every run. An agent gets its `prompt` as a message.
    """

    name: Name
    target: ScheduleTarget
    schedule: _Cron | None = None
    run_at: Moment | None = None
    timezone: _Zone | None = None
    config: Object | None = None
    timeout_seconds: _Timeout | None = None
    backoff_limit: _Backoff | None = None
    concurrency_policy: rules.ConcurrencyPolicy | None = None
    max_runs: Positive | None = None
    max_staleness_seconds: _Staleness | None = None
    concurrency_key: FlowKey | None = None
    unique: UniqueBody | None = None
    debounce: DebounceBody | None = None


def new_schedule(body: CreateSchedule) -> commands.NewSchedule:
    body.check()
    given = {
        name: value
        for name, value in msgspec.structs.asdict(body).items()
        if value is not None and name in commands.NewSchedule.__struct_fields__
    }
    converted = {
        **_target_members(body.target),
        "run_at": values.moment_ms("run_at", body.run_at),
        "flow": rules.stored_flow(unique_of(body.unique), debounce_of(body.debounce)),
    }
    if body.config is not None:
        converted["config"] = values.json_object(body.config)
    return commands.NewSchedule(**given | converted)


def _target_members(target: ScheduleTarget) -> dict[str, Any]:
    conversation_id = target.conversation_id
    return {
        "target_kind": target.kind,
        "target_id": target.id,
        "conversation_mode": target.conversation_mode,
        "conversation_id": None if conversation_id is None else conversation_id.lower(),
    }


ScheduleAnswer = answer_of("ScheduleAnswer", schedule=ScheduleView)


@routes.route(
    "POST",
    _SCHEDULES,
    body=CreateSchedule,
    answer=ScheduleAnswer,
    status=201,
    errors=(*CHANGE, "SCHEDULE_LIMIT_REACHED"),
    location="/projects/{schedule.project_id}/schedules/{schedule.id}",
)
async def create(call: Call[CreateSchedule, Nothing]) -> Reply:
    """Create a schedule."""
    new = new_schedule(call.body)
    return await call.idempotent(
        lambda record: commands.create(*scoped(call), new, record),
        lambda schedule: Reply(201, ScheduleAnswer(view(schedule, schedule.created_at))),
    )


class ScheduleFilters(CursorQuery, frozen=True, kw_only=True):
    status: rules.ScheduleStatus | None = None
    source_trigger_id: Name | None = None


class ScheduleList(msgspec.Struct, frozen=True):
    """A project's schedules. Those of its source code are included, with `definition_source` source.

    `source_schedules` is always empty. `page_info` is present if more schedules follow, or if `cursor` was sent.
    """

    schedules: list[ScheduleView]
    source_schedules: list[Any] = []
    page_info: PageInfo | msgspec.UnsetType = msgspec.UNSET


@routes.route("GET", _SCHEDULES, query=ScheduleFilters, answer=ScheduleList, errors=LOOKUP)
async def page(call: Call[Nothing, ScheduleFilters]) -> Reply:
    """List the project's schedules, oldest first."""
    query = call.query
    found = await commands.page(
        *scoped(call), query.status, query.source_trigger_id, position_by_time(query.cursor)
    )
    now = await commands.health_time(call.app, found.rows)
    answer = listed(
        found, lambda one: view(one, now), lambda one: (one.created_at, one.id), query.cursor, "schedules"
    )
    return Reply(200, {"source_schedules": [], **answer})


@routes.route("GET", _SCHEDULE, answer=ScheduleView, errors=LOOKUP)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """Get a schedule."""
    found = await commands.get(*named(call))
    return Reply(200, view(found, await commands.health_time(call.app, [found])))


_Unset = msgspec.UnsetType


class UpdateSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Members that are left out are not changed. `status` pauses or resumes the schedule.

    `schedule` and `run_at` replace each other. `target` and the runtime target are replaced as a whole.
    """

    name: Name | _Unset = msgspec.UNSET
    target: ScheduleTarget | _Unset = msgspec.UNSET
    schedule: _Cron | _Unset = msgspec.UNSET
    run_at: Moment | _Unset = msgspec.UNSET
    timezone: _Zone | _Unset = msgspec.UNSET
    runtime_target_kind: RuntimeTargetKind | _Unset = msgspec.UNSET
    runtime_target_environment_id: Uuid | _Unset | None = msgspec.UNSET
    runtime_target_branch_id: Uuid | _Unset | None = msgspec.UNSET
    config: Object | _Unset = msgspec.UNSET
    timeout_seconds: _Timeout | _Unset = msgspec.UNSET
    backoff_limit: _Backoff | _Unset = msgspec.UNSET
    concurrency_policy: rules.ConcurrencyPolicy | _Unset = msgspec.UNSET
    max_runs: Positive | _Unset | None = msgspec.UNSET
    max_staleness_seconds: _Staleness | _Unset | None = msgspec.UNSET
    concurrency_key: FlowKey | _Unset | None = msgspec.UNSET
    unique: UniqueBody | _Unset | None = msgspec.UNSET
    debounce: DebounceBody | _Unset | None = msgspec.UNSET
    status: Literal["active", "paused"] | _Unset = msgspec.UNSET
    paused_reason: Annotated[str, text(limits.schedule_reason_chars_max)] | _Unset | None = msgspec.UNSET


_PLAIN = (
    "name",
    "timezone",
    "timeout_seconds",
    "backoff_limit",
    "concurrency_policy",
    "max_runs",
    "max_staleness_seconds",
    "concurrency_key",
)


def _edit(body: UpdateSchedule) -> Edit:
    given = set_members(body)
    members = {name: given[name] for name in _PLAIN if name in given}
    if body.schedule is not msgspec.UNSET:
        members |= {"schedule": body.schedule, "run_at": None}
    if body.run_at is not msgspec.UNSET:
        # A change that sets both is refused by `schedule.check`.
        members |= {
            "schedule": members.get("schedule", ""),
            "run_at": values.moment_ms("run_at", body.run_at),
        }
    if body.target is not msgspec.UNSET:
        members |= _target_members(body.target)
        if body.target.kind == "agent" and body.target.conversation_mode is None:
            members["conversation_mode"] = "create_new" if body.target.conversation_id is None else "existing"
    if body.config is not msgspec.UNSET:
        members["config"] = values.json_object(body.config)
    members |= _runtime_target(given)
    flow: dict[str, Unique | Debounce | None] = {}
    if body.unique is not msgspec.UNSET:
        flow["unique"] = unique_of(body.unique)
    if body.debounce is not msgspec.UNSET:
        flow["debounce"] = debounce_of(body.debounce)
    return Edit(members=members, flow=flow, status=given.get("status"), paused_reason=body.paused_reason)


def _runtime_target(given: dict[str, Any]) -> dict[str, Any]:
    names = RuntimeTarget.__struct_fields__
    changed = {name: given[name] for name in names if name in given}
    if not changed:
        return {}
    whole = dict.fromkeys(names) | {"runtime_target_kind": "main_branch"} | changed
    RuntimeTarget(**whole).check()
    return whole


@routes.route(
    "PATCH",
    _SCHEDULE,
    body=UpdateSchedule,
    answer=ScheduleAnswer,
    errors=(*CHANGE, "SCHEDULE_DELETING", "SCHEDULE_FROM_SOURCE"),
)
async def update(call: Call[UpdateSchedule, Nothing]) -> Reply:
    """Edit, pause or resume a schedule."""
    wanted = _edit(call.body)
    now = await commands.now(call.app)

    def answer(changed: Schedule) -> Reply:
        return Reply(200, ScheduleAnswer(view(changed, max(now, changed.updated_at))))

    return await call.idempotent(lambda record: commands.change(*named(call), wanted, record), answer)


@routes.route("DELETE", _SCHEDULE, answer=ScheduleAnswer, errors=(*CHANGE, "SCHEDULE_FROM_SOURCE"))
async def delete(call: Call[Nothing, Nothing]) -> Reply:
    """Delete a schedule: it stops firing, and is deleted when its runs have ended. The runs stay."""
    deleting = await commands.delete(*named(call))
    return Reply(200, ScheduleAnswer(view(deleting, deleting.updated_at)))


class Upcoming(msgspec.Struct, frozen=True, kw_only=True):
    count: Annotated[int, between(1, limits.upcoming_times_max)] = limits.upcoming_times_default


class UpcomingTimes(msgspec.Struct, frozen=True):
    """The next times, earliest first."""

    data: list[Timestamp]


@routes.route("GET", _SCHEDULE + "/upcoming", query=Upcoming, answer=UpcomingTimes, errors=LOOKUP)
async def upcoming(call: Call[Nothing, Upcoming]) -> Reply:
    """List the next times at which a schedule fires. A paused or completed schedule has none."""
    count = call.query.count
    times = await commands.upcoming(*named(call), count)
    return Reply(200, UpcomingTimes([iso(at) for at in times]))


class RunSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A repeat with the same `idempotency_key` returns the same run. `run_name` is the run's title."""

    idempotency_key: IdempotencyKey
    run_name: Name | None = None


class ScheduleRun(msgspec.Struct, frozen=True):
    run_id: str
    run_execution_id: str
    schedule_id: str


@routes.route(
    "POST",
    _SCHEDULE + "/runs",
    body=RunSchedule,
    answer=ScheduleRun,
    status=201,
    errors=(*CHANGE, "SCHEDULE_COMPLETED", "SCHEDULE_DELETING", "RUN_ID_CONFLICT"),
    location="/runs/{run_id}",
    new_work=True,
)
async def run(call: Call[RunSchedule, Nothing]) -> Reply:
    """Start a run of the schedule now, whatever its status and times."""
    body, path = call.body, call.path

    def answer(written: Written) -> Reply:
        run = written.run
        # A run that flow control found may be of another schedule, or of none.
        return Reply(201, ScheduleRun(run.run_id, run.uid, path["schedule_id"]))

    return await call.idempotent(
        lambda record: commands.run(*named(call), body.idempotency_key, body.run_name, record), answer
    )
