"""Bodies that create a run, with one request type per kind."""

import re
from typing import Annotated, Any, Final, Literal, cast

import msgspec
from msgspec import Meta

from runstead.commands.create import NewRun
from runstead.core import limits
from runstead.core.errors import invalid_at
from runstead.core.runs.run import AgentDetails, Kind, OwnerKind
from runstead.http.bounds import between, line, text
from runstead.http.budget_bodies import BudgetOfRun, budget_of_run
from runstead.http.flow_bodies import DebounceBody, FlowKey, UniqueBody, flow_of
from runstead.http.framework.body import decode, invalid
from runstead.http.framework.values import (
    DOTTED_WORD,
    WORD,
    JsonObject,
    Moment,
    Name,
    RunId,
    RuntimeTarget,
    Target,
    Text,
    Uuid,
    bounded,
    json_object,
    json_value,
    moment_ms,
)

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
JsonValue = msgspec.Raw | msgspec.UnsetType
Labels = Annotated[
    dict[
        Annotated[str, line(limits.label_key_chars_max)],
        Annotated[str, text(limits.label_value_chars_max)],
    ],
    Meta(max_length=limits.labels_max),
]


class OwnerBody(msgspec.Struct, frozen=True):
    """The owner of a run: a conversation by its id for an agent run, else a project by its id or slug."""

    kind: Literal["conversation", "project"]
    id: Name


class TriggerBody(msgspec.Struct, frozen=True):
    """The message and tool call that a run was spawned from."""

    conversation_id: Uuid | None = None
    message_id: Name | None = None
    tool_call_id: Name | None = None


class TaskRequest(RuntimeTarget, frozen=True, kw_only=True):
    """A request of kind task or eval. `input` is any JSON value. Times are in seconds."""

    target: Target
    name: Name | None = None
    batch_id: Uuid | None = None
    config: JsonObject | None = None
    input: JsonValue = msgspec.UNSET
    timeout_seconds: Annotated[int, between(1, limits.timeout_s_max)] | None = None
    backoff_limit: Annotated[int, between(0, limits.backoff_limit_max)] | None = None
    start_mode: Name | None = None


class WorkflowRequest(TaskRequest, frozen=True, kw_only=True):
    """A request of kind workflow: by `workflow_id`, by `target` (`workflow:<id>`), or by both."""

    target: Target | None = None  # type: ignore[assignment]
    workflow_id: Name | None = None


class AgentRequest(RuntimeTarget, frozen=True, kw_only=True):
    """A request of kind agent. `input` is the start payload: the run starts when it is set."""

    mode: Literal["agent", "default_chat"] = "agent"
    agent_id: Name | None = None
    target: Target | None = None
    implementation_kind: Annotated[str, text(limits.implementation_kind_chars_max, pattern=WORD)] | None = (
        None
    )
    worker_key: Annotated[str, text(limits.worker_key_chars_max, pattern=DOTTED_WORD)] | None = None
    initial_status: Literal["pending", "running"] | None = None
    source_target_kind: Literal["project", "environment", "preview_branch", "release"] | None = None
    source_target_environment_id: Uuid | None = None
    source_target_branch_id: Uuid | None = None
    source_target_release_version: Name | None = None
    input: JsonValue = msgspec.UNSET


class CreateRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run to create. The type of `request` depends on `kind`.

    It cannot be claimed before `available_at`. `budget` bounds what it and its descendants spend. `owner` may be left
    out if the credential is valid for one project.
    """

    kind: Kind
    owner: OwnerBody | msgspec.UnsetType = msgspec.UNSET
    request: msgspec.Raw
    public_id: RunId | None = None
    parent_run_id: RunId | None = None
    trigger: TriggerBody | None = None
    conversation_id: Uuid | None = None
    title: Text | None = None
    labels: Labels | None = None
    priority: Annotated[
        int,
        between(
            limits.priority_min,
            limits.priority_max,
            "Runs with a higher priority are claimed first; at the same priority, older runs first.",
        ),
    ] = 0
    available_at: Moment | None = None
    concurrency_key: FlowKey | None = None
    unique: UniqueBody | None = None
    debounce: DebounceBody | None = None
    pinned: Annotated[
        bool,
        Meta(
            description="Whether only workers of the version that claims the run first may claim it again, until it ends."
        ),
    ] = False
    budget: BudgetOfRun | None = None


REQUESTS: dict[Kind, type[RuntimeTarget]] = {
    "agent": AgentRequest,
    "task": TaskRequest,
    "workflow": WorkflowRequest,
    "eval": TaskRequest,
}


def new_run(body: CreateRun) -> NewRun:
    """Convert the body into a command. Raises INVALID_REQUEST for members that do not fit together."""
    owner_kind: OwnerKind = "conversation" if body.kind == "agent" else "project"
    owner = body.owner or OwnerBody(owner_kind, "")
    if owner.kind != owner_kind:
        raise invalid_at(
            "$.owner.kind",
            f"must be {owner_kind}",
            f"The owner of a run of kind {body.kind} is a {owner_kind}, not a {owner.kind}",
        )
    if owner_kind == "conversation" and not _UUID.fullmatch(owner.id):
        message = "The owner of a run of kind agent is a conversation: name it by its id, a UUID"
        raise invalid_at("$.owner.id", "must be a conversation's id", message)
    try:
        request = decode(body.request, REQUESTS[body.kind])
    except msgspec.ValidationError as error:
        raise invalid(str(error), REQUESTS[body.kind], "$.request") from None
    request.check()
    if body.debounce is not None and body.available_at is not None:
        message = "debounce sets the time from which a run is available: leave available_at out"
        raise invalid_at("$.available_at", "not together with debounce", message)
    members: dict[str, Any] = (
        _agent(body, cast(AgentRequest, request))
        if body.kind == "agent"
        else _work(body, cast(TaskRequest, request))
    )
    return NewRun(
        kind=body.kind,
        owner_kind=owner_kind,
        owner_id=owner.id.lower(),
        run_id=body.public_id,
        parent_run_id=body.parent_run_id,
        labels=json_object(body.labels),
        priority=body.priority,
        available_at=moment_ms("available_at", body.available_at),
        flow=flow_of(body.unique, body.debounce, body.concurrency_key),
        pinned=body.pinned,
        budget=budget_of_run(body.budget),
        runtime_target_kind=request.runtime_target_kind,
        runtime_target_environment_id=request.runtime_target_environment_id,
        runtime_target_branch_id=request.runtime_target_branch_id,
        **members,
    )


def _spawned(body: CreateRun) -> dict[str, Any]:
    trigger = body.trigger or TriggerBody()
    parent = trigger.conversation_id or body.conversation_id
    parent = parent.lower() if parent is not None else None
    return {
        "parent_conversation_id": None
        if body.owner and body.owner.kind == "conversation" and parent == body.owner.id.lower()
        else parent,
        "spawned_from_message_id": trigger.message_id,
        "spawned_from_tool_call_id": trigger.tool_call_id,
    }


def _agent(body: CreateRun, request: AgentRequest) -> dict[str, Any]:
    target = request.target or (f"agent:{request.agent_id}" if request.agent_id is not None else None)
    _check_target("agent", target)
    details = AgentDetails(
        mode=request.mode,
        agent_id=request.agent_id,
        source_target_kind=request.source_target_kind,
        source_target_environment_id=request.source_target_environment_id,
        source_target_branch_id=request.source_target_branch_id,
        source_target_release_version=request.source_target_release_version,
        **_spawned(body),
    )
    return {
        "target": target,
        "title": body.title,
        "agent": details,
        "implementation_kind": request.implementation_kind,
        "worker_key": request.worker_key,
        "running": request.initial_status == "running",
        "snapshot": json_value(request.input),
    }


def _work(body: CreateRun, request: TaskRequest) -> dict[str, Any]:
    target, workflow_id = request.target, None
    if isinstance(request, WorkflowRequest):
        of_target = request.target.removeprefix("workflow:") if request.target is not None else None
        workflow_id = request.workflow_id or of_target
        target = request.target or f"workflow:{workflow_id}"
        if workflow_id is None:
            raise invalid_at(
                "$.request.workflow_id", "missing", "A workflow run needs a workflow_id or a target"
            )
    _check_target(body.kind, target)
    spawned = _spawned(body)
    return {
        "target": target,
        "title": body.title or request.name,
        "workflow_id": workflow_id,
        "agent": AgentDetails(**spawned) if any(spawned.values()) else None,
        "batch_id": request.batch_id,
        "config": bounded("request.config", json_object(request.config), limits.run_config_bytes_max),
        "input": bounded("request.input", json_value(request.input), limits.run_input_bytes_max),
        "start_mode": request.start_mode,
        "timeout_seconds": request.timeout_seconds,
        "backoff_limit": request.backoff_limit,
    }


def _check_target(kind: Kind, target: str | None) -> None:
    if target is None:
        return
    prefix, separator, name = target.partition(":")
    if prefix != kind or not separator or not name:
        raise invalid_at(
            "$.request.target",
            f"must begin with {kind}:",
            f"The target of a run of kind {kind} has the form {kind}:<id>, not {target!r}",
        )
