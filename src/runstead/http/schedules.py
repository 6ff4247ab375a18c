"""Schedules: `/projects/{project}/schedules…` (contract A7)."""

from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Meta

from runstead import limits
from runstead.clock import iso, iso_or_none
from runstead.commands import schedules as commands
from runstead.http.bodies import (
    END,
    NO_CONTROLS,
    JsonObject as Object,
    Name,
    Positive,
    RuntimeTarget,
    Uuid,
    json_object,
)
from runstead.http.endpoint import Call, Nothing, Reply, Routes
from runstead.http.run_view import JsonObject, Timestamp
from runstead.schedule import ConcurrencyPolicy, ConversationMode, Schedule, ScheduleStatus
from runstead.store import Written

routes = Routes("Schedules")

Kind: TypeAlias = Literal["task", "workflow", "agent"]
_TargetId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.target_chars_max - len("workflow:"),
        pattern=NO_CONTROLS,
        description="Without its kind: `inventory`, not `task:inventory`.",
    ),
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
        description="A name of the IANA database.",
        extra_json_schema={"pattern": rf"^[0-9A-Za-z_+/-]+{END}"},
    ),
]
_MISSING = ("NOT_FOUND",)
_WRITE = ("NOT_FOUND", "STORE_BUSY", "STORE_UNAVAILABLE")


class ScheduleTarget(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`conversation_mode` is for agents: `create_new` (the default) and `none` make a conversation for each run,
    `existing` uses the one of `conversation_id`.
    """

    kind: Kind
    id: _TargetId
    conversation_mode: ConversationMode | None = None
    conversation_id: Uuid | None = None


class CreateSchedule(RuntimeTarget, frozen=True, kw_only=True):
    """What runs when. `config` goes to every run; an agent is told its `prompt`."""

    name: Name
    target: ScheduleTarget
    schedule: _Cron
    timezone: _Zone | None = None
    config: Object | None = None
    timeout_seconds: Annotated[int, Meta(ge=1, le=limits.timeout_s_max)] | None = None
    backoff_limit: Annotated[int, Meta(ge=0, le=limits.backoff_limit_max)] | None = None
    concurrency_policy: ConcurrencyPolicy | None = None
    max_runs: Positive | None = None


class ScheduleTargetView(msgspec.Struct, frozen=True, omit_defaults=True):
    """The conversation's members are there for agents alone: published clients refuse them elsewhere."""

    kind: Kind
    id: str
    conversation_mode: ConversationMode | msgspec.UnsetType = msgspec.UNSET
    conversation_id: str | msgspec.UnsetType | None = msgspec.UNSET


class ScheduleView(msgspec.Struct, frozen=True):
    id: str
    project_id: str
    name: str
    status: ScheduleStatus
    target: ScheduleTargetView
    schedule: str
    timezone: str
    definition_source: Literal["manual", "source"]
    source_trigger_id: str | None
    source_path: str | None
    source_hash: str | None
    runtime_target_kind: Literal["main_branch", "environment", "preview_branch"]
    runtime_target_environment_id: str | None
    runtime_target_branch_id: str | None
    config: JsonObject
    timeout_seconds: int
    backoff_limit: int
    concurrency_policy: ConcurrencyPolicy
    health: Literal["healthy", "failing"] | None
    max_runs: int | None
    run_count: int
    last_scheduled_at: Timestamp | None
    last_successful_at: Timestamp | None
    last_failure_at: Timestamp | None
    last_failure_code: str | None
    last_failure_message: str | None
    last_failure_run_id: str | None
    paused_reason: str | None
    paused_at: Timestamp | None
    completed_at: Timestamp | None
    integration_requirements: list[Any]
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp


def _target(schedule: Schedule) -> ScheduleTargetView:
    if schedule.target_kind != "agent":
        return ScheduleTargetView(schedule.target_kind, schedule.target_id)
    mode = schedule.conversation_mode or msgspec.UNSET
    return ScheduleTargetView(schedule.target_kind, schedule.target_id, mode, schedule.conversation_id)


def view(schedule: Schedule) -> ScheduleView:
    return ScheduleView(
        schedule.id,
        schedule.project_id,
        schedule.name,
        schedule.status,
        _target(schedule),
        schedule.schedule,
        schedule.timezone,
        schedule.definition_source,
        schedule.source_trigger_id,
        schedule.source_path,
        schedule.source_hash,
        schedule.runtime_target_kind,
        schedule.runtime_target_environment_id,
        schedule.runtime_target_branch_id,
        msgspec.Raw(schedule.config),
        schedule.timeout_seconds,
        schedule.backoff_limit,
        schedule.concurrency_policy,
        schedule.health,
        schedule.max_runs,
        schedule.run_count,
        iso_or_none(schedule.last_scheduled_at),
        iso_or_none(schedule.last_successful_at),
        iso_or_none(schedule.last_failure_at),
        schedule.last_failure_code,
        schedule.last_failure_message,
        schedule.last_failure_run_id,
        schedule.paused_reason,
        iso_or_none(schedule.paused_at),
        iso_or_none(schedule.completed_at),
        msgspec.json.decode(schedule.integration_requirements),
        schedule.created_by,
        iso(schedule.created_at),
        iso(schedule.updated_at),
    )


def _new(body: CreateSchedule) -> commands.NewSchedule:
    body.check()
    target = body.target
    given = {
        "timezone": body.timezone,
        "runtime_target_kind": body.runtime_target_kind,
        "config": json_object(body.config),
        "timeout_seconds": body.timeout_seconds,
        "backoff_limit": body.backoff_limit,
        "concurrency_policy": body.concurrency_policy,
    }
    return commands.NewSchedule(
        name=body.name,
        target_kind=target.kind,
        target_id=target.id,
        conversation_mode=target.conversation_mode,
        conversation_id=target.conversation_id.lower() if target.conversation_id is not None else None,
        schedule=body.schedule,
        runtime_target_environment_id=body.runtime_target_environment_id,
        runtime_target_branch_id=body.runtime_target_branch_id,
        max_runs=body.max_runs,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )


class ScheduleAnswer(msgspec.Struct, frozen=True):
    schedule: ScheduleView


@routes.route(
    "POST",
    "/projects/{project}/schedules",
    body=CreateSchedule,
    answer=ScheduleAnswer,
    status=201,
    errors=(*_WRITE, "SCHEDULE_LIMIT_REACHED"),
)
async def create(call: Call[CreateSchedule, Nothing]) -> Reply:
    """Create a schedule."""
    new, ref = _new(call.body), call.path["project"]

    def answer(made: Schedule) -> Reply:
        place = f"/projects/{made.project_id}/schedules/{made.id}"
        return Reply(201, ScheduleAnswer(view(made)), {"Location": place})

    return await call.once(lambda seal: commands.create(call.app, call.principal, ref, new, seal), answer)


class ScheduleFilters(msgspec.Struct, frozen=True, kw_only=True):
    status: ScheduleStatus | None = None
    source_trigger_id: Name | None = None


class ScheduleList(msgspec.Struct, frozen=True):
    """`source_schedules` is always empty: here schedules are made by calls, not by a project's source."""

    schedules: list[ScheduleView]
    source_schedules: list[Any] = []


@routes.route(
    "GET", "/projects/{project}/schedules", query=ScheduleFilters, answer=ScheduleList, errors=_MISSING
)
async def page(call: Call[Nothing, ScheduleFilters]) -> Reply:
    """The project's schedules, oldest first."""
    query = call.query
    found = await commands.page(
        call.app, call.principal, call.path["project"], query.status, query.source_trigger_id
    )
    return Reply(200, ScheduleList([view(schedule) for schedule in found]))


@routes.route("GET", "/projects/{project}/schedules/{schedule_id}", answer=ScheduleView, errors=_MISSING)
async def get(call: Call[Nothing, Nothing]) -> Reply:
    """One schedule."""
    found = await commands.get(call.app, call.principal, call.path["project"], call.path["schedule_id"])
    return Reply(200, view(found))


class RunSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """The same `idempotency_key` gives the same run. `run_name` is the run's title."""

    idempotency_key: Annotated[
        str, Meta(min_length=1, max_length=limits.idempotency_key_chars_max, pattern=NO_CONTROLS)
    ]
    run_name: Name | None = None


class ScheduleRun(msgspec.Struct, frozen=True):
    run_id: str
    run_execution_id: str
    schedule_id: str


@routes.route(
    "POST",
    "/projects/{project}/schedules/{schedule_id}/runs",
    body=RunSchedule,
    answer=ScheduleRun,
    status=201,
    errors=(*_WRITE, "SCHEDULE_COMPLETED", "RUN_ID_CONFLICT"),
)
async def run(call: Call[RunSchedule, Nothing]) -> Reply:
    """Start a run of the schedule now, whatever its status and times."""
    body, path = call.body, call.path

    def answer(written: Written) -> Reply:
        made = written.run
        assert made.schedule_id is not None
        place = {"Location": f"/runs/{quote(made.run_id, safe='')}"}
        return Reply(201, ScheduleRun(made.run_id, made.uid, made.schedule_id), place)

    return await call.once(
        lambda seal: commands.run(
            call.app,
            call.principal,
            path["project"],
            path["schedule_id"],
            body.idempotency_key,
            body.run_name,
            seal,
        ),
        answer,
    )
