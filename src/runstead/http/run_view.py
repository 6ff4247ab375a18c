"""Runs in answers: the run itself, and the agent run as its conversation shows it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import asdict

from runstead.core import limits
from runstead.core.clock import iso, iso_or_none
from runstead.core.runs.artifact import shown
from runstead.core.runs.run import (
    OMITTABLE,
    AgentDetails,
    Kind,
    OwnerKind,
    Run,
    RunStatus,
    RuntimeTargetKind,
    TriggerKind,
    WaitingReason,
)
from runstead.http.framework.views import NULL, Json, JsonObjectOrNull, Timestamp, raw, view_of

RUN_ERROR = {
    "type": "object",
    "required": ["message"],
    "properties": {"message": {"type": "string"}, "code": {"type": "string"}, "detail": {}},
}
_ErrorOrNull = Annotated[msgspec.Raw, Meta(extra_json_schema={"anyOf": [RUN_ERROR, {"type": "null"}]})]
PROGRESS = {
    "type": "object",
    "required": ["at"],
    "properties": {
        "fraction": {"type": "number", "minimum": 0, "maximum": 1},
        "message": {"type": "string", "maxLength": limits.progress_message_chars_max},
        "at": {"type": "string", "format": "date-time"},
    },
}
_ProgressOrNull = Annotated[msgspec.Raw, Meta(extra_json_schema={"anyOf": [PROGRESS, {"type": "null"}]})]
RETRY_FROM = {
    "type": "object",
    "required": ["run_id", "step_id", "event_id"],
    "properties": {
        "run_id": {"type": "string"},
        "step_id": {"type": "string"},
        "event_id": {"type": "integer", "minimum": 0},
    },
}
_RetryFromOrNull = Annotated[msgspec.Raw, Meta(extra_json_schema={"anyOf": [RETRY_FROM, {"type": "null"}]})]
_Artifacts = Annotated[
    msgspec.Raw,
    Meta(extra_json_schema={"type": "array", "items": {"$ref": "#/components/schemas/Artifact"}}),
]
_Labels = Annotated[msgspec.Raw, Meta(extra_json_schema={"$ref": "#/components/schemas/Labels"})]

_NO_ARTIFACTS = msgspec.Raw(b"[]")
_NO_LABELS = msgspec.Raw(b"{}")


class OwnerView(msgspec.Struct, frozen=True):
    kind: OwnerKind
    id: str


class Descendants(msgspec.Struct, frozen=True):
    """The numbers of all descendants and of the active ones."""

    total: int
    active: int


class Cancellation(msgspec.Struct, frozen=True):
    """A requested cancellation. `stopped_at` is set when the last attempt has ended."""

    requested_at: Timestamp
    reason: str | None
    stopped_at: Timestamp | None


class RunView(msgspec.Struct, frozen=True):
    """A run. The first 33 members are always present; the others are extensions of Runstead.

    `unserved_since`: since then it is in the queue and no online worker serves its target; only in `GET /runs/{run_id}`.
    """

    run_id: str
    kind: Kind
    status: RunStatus
    owner: OwnerView
    parent_run_id: str | None
    root_run_id: str
    waiting_reason: WaitingReason | None
    metadata: JsonObjectOrNull
    target: str | None
    workflow_id: str | None
    schedule_id: str | None
    batch_id: str | None
    runtime_target_kind: RuntimeTargetKind | None
    runtime_target_environment_id: str | None
    runtime_target_branch_id: str | None
    input: Json
    config: JsonObjectOrNull
    output: Json
    error: _ErrorOrNull
    logs: str | None
    artifacts: _Artifacts
    duration_ms: int | None
    exit_code: int | None
    timeout_seconds: int | None
    backoff_limit: int | None
    start_mode: str | None
    trigger_kind: TriggerKind | None
    trigger_id: str | None
    created_by: str | None
    created_at: Timestamp
    updated_at: Timestamp
    started_at: Timestamp | None
    completed_at: Timestamp | None
    # Extensions of Runstead
    project_id: str
    title: str | None
    labels: _Labels
    retry_of: str | None
    retry_from: _RetryFromOrNull
    compensates: str | None
    compensations: int
    conversation_id: str | None
    attempt: int
    priority: int
    available_at: Timestamp | None
    lease_owner: str | None
    lease_expires_at: Timestamp | None
    waiting_tool_call_id: str | None
    waiting_tool_name: str | None
    waiting_run_id: str | None
    resume_at: Timestamp | None
    paused: bool
    latest_event_id: int
    progress: _ProgressOrNull
    descendants: Descendants
    cancellation: Cancellation | None
    scheduled_at: Timestamp | None
    missed_since: Timestamp | None
    worker_version: str | None
    pinned: bool
    etag: str
    unserved_since: Timestamp | None = None
    latest_external_event_sequence: int | msgspec.UnsetType = msgspec.UNSET
    # Flow control: present where it was asked for
    concurrency_key: str | msgspec.UnsetType = msgspec.UNSET
    unique_key: str | msgspec.UnsetType = msgspec.UNSET
    debounce_key: str | msgspec.UnsetType = msgspec.UNSET
    debounced: int | msgspec.UnsetType = msgspec.UNSET


def etag(run: Run, unserved_since: int | None = None) -> str:
    """Return a strong entity-tag (RFC 9110, 8.8.3) that changes with every member of the view.

    It contains the counters of descendants and `unserved_since` (ms), which change without the run's version.
    """
    unserved = "" if unserved_since is None else f".{unserved_since}"
    return f'"{run.version}.{run.descendants_total}.{run.descendants_active}{unserved}"'


def run_view(run: Run, *, sequence: bool = True) -> RunView:
    """Build the view of a run. `sequence=False` leaves out the external sequence, as for private events."""
    cancellation = None
    if run.cancel_requested_at is not None:
        cancellation = Cancellation(
            iso(run.cancel_requested_at), run.cancel_reason, iso_or_none(run.cancel_stopped_at)
        )
    leased = run.lease_expires_at is not None and not run.terminal
    # What most runs do not have costs no call.
    return RunView(
        run_id=run.run_id,
        kind=run.kind,
        status=run.status,
        owner=OwnerView(run.owner_kind, run.owner_id),
        parent_run_id=run.parent_run_id,
        root_run_id=run.root_run_id,
        waiting_reason=run.shown_reason,
        metadata=NULL if run.metadata is None else raw(run.metadata),
        target=run.target,
        workflow_id=run.workflow_id,
        schedule_id=run.schedule_id,
        batch_id=run.batch_id,
        runtime_target_kind=run.runtime_target_kind,
        runtime_target_environment_id=run.runtime_target_environment_id,
        runtime_target_branch_id=run.runtime_target_branch_id,
        input=raw(run.input),
        config=raw(run.config),
        output=raw(run.output),
        error=NULL if run.error is None else raw(run.error),
        logs=run.logs,
        artifacts=_NO_ARTIFACTS if run.artifacts is None else msgspec.Raw(shown(run.artifacts)),
        duration_ms=run.duration_ms,
        exit_code=run.exit_code,
        timeout_seconds=run.timeout_seconds,
        backoff_limit=run.backoff_limit,
        start_mode=run.start_mode,
        trigger_kind=run.trigger_kind,
        trigger_id=run.trigger_id,
        created_by=run.created_by,
        created_at=iso(run.created_at),
        updated_at=iso(run.updated_at),
        started_at=iso_or_none(run.started_at),
        completed_at=iso_or_none(run.completed_at),
        project_id=run.project_id,
        title=run.title,
        labels=_NO_LABELS if run.labels is None else msgspec.Raw(run.labels),
        retry_of=run.retry_of,
        retry_from=NULL if run.retry_from is None else raw(run.retry_from),
        compensates=run.compensates,
        compensations=run.compensations or 0,
        conversation_id=run.conversation_id,
        attempt=run.attempt,
        priority=run.shown_priority,
        available_at=None if run.claimable_at is None else iso(run.claimable_at),
        lease_owner=run.lease_owner if leased else None,
        lease_expires_at=iso_or_none(run.lease_expires_at) if leased else None,
        waiting_tool_call_id=run.waiting_tool_call_id,
        waiting_tool_name=run.waiting_tool_name,
        waiting_run_id=run.waiting_run_id,
        resume_at=None if run.resume_at is None else iso(run.resume_at),
        paused=run.paused,
        latest_event_id=run.latest_event_id,
        progress=NULL if run.progress is None else raw(run.progress),
        descendants=Descendants(run.descendants_total, run.descendants_active),
        cancellation=cancellation,
        scheduled_at=None if run.scheduled_at is None else iso(run.scheduled_at),
        missed_since=None if run.missed_since is None else iso(run.missed_since),
        worker_version=run.worker_version,
        pinned=bool(run.pinned),
        etag=etag(run),
        latest_external_event_sequence=run.latest_external_event_sequence if sequence else msgspec.UNSET,
        concurrency_key=run.concurrency_key or msgspec.UNSET,
        unique_key=run.unique_key or msgspec.UNSET,
        debounce_key=run.debounce_key or msgspec.UNSET,
        debounced=msgspec.UNSET if run.debounce_key is None else run.debounced or 0,
    )


def not_read(members: Sequence[str], hidden: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the large fields that a list of runs does not read.

    `members` are those of a `RunView` that it shows, none for all but the `hidden` ones.
    """
    return (OMITTABLE - set(members) if members else hidden) | {"agent", "request_snapshot"}


def rows_read(limit: int, members: Sequence[str]) -> int:
    """Return how many rows of a page of at most `limit` can fit in `limits.list_page_bytes_max`."""
    return limit if members else min(limit, limits.list_page_bytes_max // limits.run_view_bytes_min)


ProjectionStatus = Literal["pending", "running", "waiting_for_tool", "completed", "failed", "cancelled"]


class ProjectionView(msgspec.Struct, frozen=True):
    """An agent run as its conversation shows it."""

    run_id: str
    conversation_id: str | None
    message_id: str | None
    project_id: str | None
    requested_by_user_id: str | None
    agent_id: str | None
    status: ProjectionStatus
    implementation_kind: str | None
    worker_key: str | None
    source_target_kind: str | None
    source_target_environment_id: str | None
    source_target_branch_id: str | None
    source_target_release_version: str | None
    runtime_target_kind: RuntimeTargetKind | None
    runtime_target_environment_id: str | None
    runtime_target_branch_id: str | None
    parent_conversation_id: str | None
    parent_run_id: str | None
    spawned_from_message_id: str | None
    spawned_from_tool_call_id: str | None
    input_anchor_message_id: str | None
    handoff_message_id: str | None
    resolved_deployment_id: str | None
    latest_event_id: int
    waiting_tool_call_id: str | None
    waiting_tool_name: str | None
    terminal_error_code: str | None
    terminal_error_message: str | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    metadata: JsonObjectOrNull
    progress: _ProgressOrNull  # an extension of Runstead
    latest_external_event_sequence: int | msgspec.UnsetType = msgspec.UNSET


class _ErrorView(msgspec.Struct, frozen=True):
    message: str | None = None
    code: str | None = None


_agent = msgspec.json.Decoder(AgentDetails)
_error = msgspec.json.Decoder(_ErrorView)
_STATUSES: dict[RunStatus, Any] = {status: status.value for status in RunStatus} | {
    RunStatus.WAITING: "waiting_for_tool"  # the status that published clients know
}


def agent_details(run: Run) -> AgentDetails:
    return AgentDetails() if run.agent is None else _agent.decode(run.agent)


def projection(run: Run, *, sequence: bool = True) -> ProjectionView:
    error = _ErrorView() if run.error is None else _error.decode(run.error)
    agent = asdict(agent_details(run))
    del agent["mode"]
    return view_of(
        ProjectionView,
        run,
        **agent,
        status=_STATUSES[run.status],
        handoff_message_id=None,
        resolved_deployment_id=None,
        terminal_error_code=error.code,
        terminal_error_message=error.message,
        finished_at=iso_or_none(run.completed_at),
        latest_external_event_sequence=run.latest_external_event_sequence if sequence else msgspec.UNSET,
    )
