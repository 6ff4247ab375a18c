"""Create runs."""

import os
from typing import Any

import msgspec
from msgspec.structs import replace

from runstead.commands import locate, targets
from runstead.commands.app import App
from runstead.commands.budgets import RunBudget
from runstead.core import limits, trace_context
from runstead.core.audit import ObjectName, by
from runstead.core.batches.batch import admit
from runstead.core.errors import Error, invalid_at, not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, Scope, refuse_bound, require
from runstead.core.identity.project import user_uuid
from runstead.core.runs import transitions
from runstead.core.runs.flow import NO_FLOW, Flow, keyed, wanted_keys
from runstead.core.runs.run import (
    AgentDetails,
    Kind,
    OwnerKind,
    Run,
    RunStatus,
    RuntimeTargetKind,
    TriggerKind,
)
from runstead.core.runs.transition import Decide, Loaded, NewMessage, Transition, Want, audited
from runstead.ports.store import RunKey, Written

encode = msgspec.json.Encoder().encode


def new_uuid() -> str:
    """Return a random UUID (version 4), twice as fast as the module `uuid`."""
    text = os.urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run to create. Members of type bytes are JSON text.

    `owner_id` of a project is its id or slug, empty for the only project of the caller.
    """

    kind: Kind
    owner_kind: OwnerKind
    owner_id: str
    run_id: str | None = None
    parent_run_id: str | None = None
    target: str | None = None
    title: str | None = None
    labels: bytes | None = None
    workflow_id: str | None = None
    batch_id: str | None = None
    runtime_target_kind: RuntimeTargetKind | None = None
    runtime_target_environment_id: str | None = None
    runtime_target_branch_id: str | None = None
    config: bytes | None = None
    input: bytes | None = None
    start_mode: str | None = None
    timeout_seconds: int | None = None
    backoff_limit: int | None = None
    trigger_kind: TriggerKind = "api"
    priority: int = 0
    available_at: int | None = None
    flow: Flow = NO_FLOW
    pinned: bool = False
    budget: RunBudget | None = None
    # Agent runs
    agent: AgentDetails | None = None
    implementation_kind: str | None = None
    worker_key: str | None = None
    running: bool = False
    snapshot: bytes | None = None


async def create(
    app: App,
    principal: Principal,
    new: NewRun,
    idempotency: IdempotencyRecord | None = None,
    *,
    recorded: bool = False,
) -> Written:
    """Create a run, or find it under its id or the keys of its flow; then `transition.duplicate` is true.

    `recorded`: the audit log has an entry, because a person starts the run.

    The second step of a two-step start is such a repeat, with a start payload. A config or input that is not the
    run's is dropped, and named in `transition.differs`. A `batch_id` that names no
    batch of the project is stored as a label.

    Raises RUN_ID_CONFLICT, NOT_FOUND (owner, parent), PARENT_CANCELLED, BATCH_CLOSED,
    REQUEST_SNAPSHOT_TOO_LARGE; INVALID_REQUEST for an `available_at` of a run that enters no queue.
    """
    if new.snapshot is not None and len(new.snapshot) >= limits.request_snapshot_bytes_max:
        raise Error("REQUEST_SNAPSHOT_TOO_LARGE", "Agent run request snapshot payload must be less than 2 MB")
    await locate.refuse_outside(app, principal, new.parent_run_id, "cannot create other runs")
    if new.flow.finds_runs:
        refuse_bound(principal, "cannot use unique or debounce, which may find other runs")
    project_id = await _project_of(app, principal, new)
    if new.owner_kind == "project" and new.owner_id != project_id:
        new = replace(new, owner_id=project_id)
    await check_input(app, project_id, new)
    run, message = draft(new, project_id, principal)
    budget = None if new.budget is None else new.budget.of(run)
    refusal = await app.quotas.refuse_more_runs(project_id, 1, principal)

    def decide(loaded: Loaded) -> Transition:
        if loaded.run is not None:
            if principal.family and loaded.run.parent_run_id != new.parent_run_id:
                raise conflict(loaded.run)
            return _repeated(loaded.run, run, new, loaded)
        existing = transitions.find_existing(run, new.flow, loaded)
        if existing is not None:
            return existing
        if refusal is not None:
            raise refusal
        created = run
        if loaded.batch is not None:
            admit(loaded.batch)
            created = replace(run, batch_id=loaded.batch.id)
        made = insert(created, message, loaded, new.flow)
        return made if budget is None else replace(made, budget=budget)

    batch_id = new.batch_id.lower() if new.batch_id is not None else None
    want = Want(
        parent_run_id=new.parent_run_id,
        push_agent=push_agent(run),
        batch_id=batch_id,
        keys=wanted_keys(new.flow, run.target),
        fresh=new.run_id is None,
    )
    rule: Decide = decide
    if recorded:
        rule = audited(decide, by(principal, "run.create", project_id, of=ObjectName("run", run.run_id)))
    written = await app.store.runs.apply(RunKey(project_id, run.run_id), rule, want, idempotency)
    app.publish(written)
    return written


async def check_input(app: App, project_id: str, new: NewRun, path: str = "$.request.input") -> None:
    """Check the input of a new run where its target asks for it. An agent's run may get its input later.

    Raises INVALID_REQUEST.
    """
    value = new.snapshot if new.kind == "agent" else new.input
    if new.target is not None and (value is not None or new.kind != "agent"):
        await targets.check_input(app, project_id, new.target, value, path)


async def _project_of(app: App, principal: Principal, new: NewRun) -> str:
    if new.owner_kind == "project":
        if not new.owner_id:
            if len(principal.grants) != 1:
                message = "Name the owner of the run: the credential is not valid for exactly one project"
                raise invalid_at("$.owner", "missing", message)
            (project_id,) = principal.grants
        elif new.owner_id in principal.grants:
            project_id = new.owner_id
        else:
            return (await locate.project(app, principal, Scope.RUNS_WRITE, new.owner_id)).id
        require(principal, Scope.RUNS_WRITE, project_id, "Project")
        return project_id
    found = await locate.conversation(app, principal, Scope.RUNS_WRITE, new.owner_id)
    return found.project_id


def draft(new: NewRun, project_id: str, principal: Principal) -> tuple[Run, NewMessage | None]:
    """Build the row of a new run and, for an agent run, its message."""
    run_id = new.run_id if new.run_id is not None else f"run_{new_uuid()}"
    creator = user_uuid(principal.id)
    details, message = new.agent, None
    if new.kind == "agent":
        assert details is not None
        message = NewMessage(new_uuid(), new.owner_id, creator)
        details = replace(
            details,
            message_id=message.id,
            requested_by_user_id=principal.id if principal.kind == "user" else None,
        )
    run = Run(
        uid=new_uuid(),
        project_id=project_id,
        run_id=run_id,
        kind=new.kind,
        status=RunStatus.RUNNING if new.running else RunStatus.PENDING,
        owner_kind=new.owner_kind,
        owner_id=new.owner_id,
        root_run_id=run_id,
        created_at=0,
        updated_at=0,
        target=new.target,
        workflow_id=new.workflow_id,
        batch_id=new.batch_id,
        runtime_target_kind=new.runtime_target_kind,
        runtime_target_environment_id=new.runtime_target_environment_id,
        runtime_target_branch_id=new.runtime_target_branch_id,
        start_mode=new.start_mode,
        trigger_kind=new.trigger_kind,
        priority=new.priority,
        available_at=new.available_at,
        pinned=new.pinned or None,
        created_by=creator,
        trace_context=trace_context.current.get(),
        title=new.title,
        labels=new.labels,
        conversation_id=new.owner_id if new.kind == "agent" else None,
        implementation_kind=new.implementation_kind,
        worker_key=new.worker_key,
        timeout_seconds=new.timeout_seconds,
        backoff_limit=new.backoff_limit,
        agent=encode(details) if details is not None else None,
        config=new.config,
        input=new.input,
        request_snapshot=new.snapshot,
    )
    return keyed(run, new.flow), message


def insert(
    run: Run, message: NewMessage | None, loaded: Loaded, flow: Flow = NO_FLOW, *, compensates: bool = False
) -> Transition:
    """Apply the rule that creates a run to a drafted row."""
    return transitions.create(
        run if flow.debounce is None else transitions.delay(run, flow.debounce, loaded.now),
        now=loaded.now,
        parent=loaded.parent,
        family_cancelled=loaded.family_cancelled,
        compensates=compensates,
        message=message,
        push_service_id=loaded.push_service_id,
    )


def push_agent(run: Run) -> str | None:
    """Return the agent id whose push service may receive the run.

    None: the run is not started yet, or it is executed by a worker or by the caller.
    """
    if run.queued or run.request_snapshot is None or run.status is not RunStatus.PENDING:
        return None
    return msgspec.json.decode(run.agent or b"{}", type=AgentDetails).agent_id or ""


def conflict(known: Run) -> Error:
    return Error(
        "RUN_ID_CONFLICT",
        f"The run id {known.run_id} is used by a run with another kind, owner or target",
    )


def _repeated(known: Run, wanted: Run, new: NewRun, loaded: Loaded) -> Transition:
    """Answer a repeated creation: start the run if the repeat holds the start payload.

    Raises RUN_ID_CONFLICT.
    """

    def identity(run: Run) -> tuple[Any, ...]:
        return (run.kind, run.owner_kind, run.owner_id, run.target)

    if identity(known) != identity(wanted):
        raise conflict(known)
    differs = tuple(
        name
        for name, stored, given in (
            ("config", known.config, wanted.config),
            ("input", known.input, wanted.input),
            ("input", known.request_snapshot, wanted.request_snapshot),
        )
        if given is not None and _differs(stored, given, first=known.kind == "agent")
    )
    if known.kind == "agent" and new.snapshot is not None:
        started = transitions.start(
            known,
            now=loaded.now,
            snapshot=new.snapshot,
            push_service_id=loaded.push_service_id,
            available_at=new.available_at,
        )
        return replace(started, differs=differs)
    return Transition(known, duplicate=True, differs=differs)


def _differs(stored: bytes | None, given: bytes, *, first: bool) -> bool:
    """Return whether two values in JSON differ. `first`: a value that was not stored before is accepted."""
    if stored is None:
        return not first
    return stored != given and msgspec.json.decode(stored) != msgspec.json.decode(given)


def copy_request(first: Run, principal: Principal) -> tuple[Run, NewMessage | None]:
    """Build a new run with the request of an ended run and, for an agent run, its message."""
    creator = user_uuid(principal.id)
    message, agent = None, first.agent
    if first.kind == "agent":
        if first.conversation_id is None:
            raise not_found("Conversation")
        message = NewMessage(new_uuid(), first.conversation_id, creator)
        details = msgspec.json.decode(first.agent or b"{}", type=AgentDetails)
        agent = encode(replace(details, message_id=message.id))
    new_id = f"run_{new_uuid()}"
    run = Run(
        uid=new_uuid(),
        run_id=new_id,
        root_run_id=new_id,
        status=RunStatus.PENDING,
        created_at=0,
        updated_at=0,
        retry_of=first.run_id,
        created_by=creator,
        trace_context=trace_context.current.get(),
        agent=agent,
        **{name: getattr(first, name) for name in _REQUEST},
    )
    return run, message


#: The members of a request, which a retry copies.
_REQUEST = (
    "project_id",
    "kind",
    "owner_kind",
    "owner_id",
    "target",
    "workflow_id",
    "schedule_id",
    "batch_id",
    "runtime_target_kind",
    "runtime_target_environment_id",
    "runtime_target_branch_id",
    "start_mode",
    "trigger_kind",
    "trigger_id",
    "title",
    "labels",
    "conversation_id",
    "implementation_kind",
    "worker_key",
    "timeout_seconds",
    "backoff_limit",
    "priority",
    "concurrency_key",
    "pinned",
    "config",
    "input",
    "request_snapshot",
)
