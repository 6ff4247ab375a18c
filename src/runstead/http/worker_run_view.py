"""Runs and their sessions in answers to workers."""

from typing import Any, Literal

import msgspec

from runstead.core import trace_context
from runstead.core.clock import iso, iso_or_none
from runstead.core.queue.worker import Session
from runstead.core.runs.run import Kind, Run, RunStatus
from runstead.http.framework.views import Json, JsonObjectOrNull, Timestamp, raw
from runstead.http.run_view import agent_details


class SessionView(msgspec.Struct, frozen=True):
    id: str
    run_id: str
    implementation_kind: str
    worker_id: str
    session_key: str
    status: Literal["active", "completed", "failed", "cancelled"]
    metadata: JsonObjectOrNull
    created_at: Timestamp
    updated_at: Timestamp
    ended_at: Timestamp | None


def session_view(session: Session) -> SessionView:
    return SessionView(
        id=session.id,
        run_id=session.run_id,
        implementation_kind=session.implementation_kind,
        worker_id=session.worker_id,
        session_key=session.session_key,
        status=session.status,
        metadata=raw(session.metadata),
        created_at=iso(session.created_at),
        updated_at=iso(session.updated_at),
        ended_at=iso_or_none(session.ended_at),
    )


class RequestSnapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """The start payload of an agent run, in the form that workers read."""

    messages: list[Any]
    tools: list[Any]
    context: list[Any]
    forwardedProps: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET  # noqa: N815 - the wire's names
    traceContext: Any = msgspec.UNSET  # noqa: N815


class WorkerRun(msgspec.Struct, frozen=True):
    """A run for a worker. `lease_token` is shown to the holder of the lease only.

    Send `lease_token` and `attempt` with later writes to prove that the worker holds the run. `compensates` is the run
    that a compensation undoes. `traceparent` and `tracestate` are the trace context of the run's creation (W3C Trace
    Context). All three are absent where there is none.
    """

    run_id: str
    conversation_id: str | None
    message_id: str | None
    project_id: str
    agent_id: str | None
    status: RunStatus
    request_snapshot: RequestSnapshot | None
    source_target_kind: str | None
    source_target_environment_id: str | None
    source_target_branch_id: str | None
    source_target_release_version: str | None
    runtime_target_kind: str | None
    runtime_target_environment_id: str | None
    runtime_target_branch_id: str | None
    latest_event_id: int
    latest_external_event_sequence: int
    lease_owner: str | None
    lease_expires_at: Timestamp | None
    worker_session: SessionView | None
    kind: Kind
    target: str | None
    workflow_id: str | None
    input: Json
    config: JsonObjectOrNull
    timeout_seconds: int | None
    attempt: int
    lease_token: str | None
    compensates: str | msgspec.UnsetType = msgspec.UNSET
    traceparent: str | msgspec.UnsetType = msgspec.UNSET
    tracestate: str | msgspec.UnsetType = msgspec.UNSET


def snapshot_view(stored: bytes | None) -> RequestSnapshot | None:
    """Convert a stored start payload. It may use snake_case names and have an object as its context."""
    if stored is None:
        return None
    payload = msgspec.json.decode(stored)
    if not isinstance(payload, dict):
        return RequestSnapshot([], [], [])
    props = payload.get("forwarded_props", payload.get("forwardedProps"))
    context = payload.get("context")
    return RequestSnapshot(
        _list(payload.get("messages")),
        _list(payload.get("tools")),
        [context] if isinstance(context, dict) else _list(context),
        props if isinstance(props, dict) else msgspec.UNSET,
        payload.get("trace_context", payload.get("traceContext", msgspec.UNSET)),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def worker_run(run: Run, session: Session | None = None, *, holds_lease: bool = True) -> WorkerRun:
    """Build the view. Without `holds_lease` it has no lease token: the caller has not proved that it has it."""
    agent = agent_details(run)
    traceparent = tracestate = None
    if run.trace_context is not None:
        traceparent, tracestate = trace_context.split(run.trace_context)
    return WorkerRun(
        run_id=run.run_id,
        conversation_id=run.conversation_id,
        message_id=agent.message_id,
        project_id=run.project_id,
        agent_id=agent.agent_id,
        status=run.status,
        request_snapshot=snapshot_view(run.request_snapshot),
        source_target_kind=agent.source_target_kind,
        source_target_environment_id=agent.source_target_environment_id,
        source_target_branch_id=agent.source_target_branch_id,
        source_target_release_version=agent.source_target_release_version,
        runtime_target_kind=run.runtime_target_kind,
        runtime_target_environment_id=run.runtime_target_environment_id,
        runtime_target_branch_id=run.runtime_target_branch_id,
        latest_event_id=run.latest_event_id,
        latest_external_event_sequence=run.latest_external_event_sequence,
        lease_owner=run.lease_owner,
        lease_expires_at=iso_or_none(run.lease_expires_at),
        worker_session=None if session is None else session_view(session),
        kind=run.kind,
        target=run.target,
        workflow_id=run.workflow_id,
        input=raw(run.input),
        config=raw(run.config),
        timeout_seconds=run.timeout_seconds,
        attempt=run.attempt,
        lease_token=run.lease_token if holds_lease else None,
        compensates=run.compensates or msgspec.UNSET,
        traceparent=traceparent or msgspec.UNSET,
        tracestate=tracestate or msgspec.UNSET,
    )
