"""What can be done with a run that exists."""

import hashlib
import random
from collections.abc import Callable
from typing import Any

import msgspec

from runstead.commands import locate
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, Scope, projects_with, refuse_bound
from runstead.core.runs import transitions
from runstead.core.runs.run import Run, StoredReason
from runstead.core.runs.transition import NOTHING_ELSE, EndedAttempt, Loaded, Receipt, Transition, Want
from runstead.core.runs.transitions import Completion, Fence
from runstead.ports.store import RunQuery, Written


class RunRef(msgspec.Struct, frozen=True):
    """A run as a caller names it: by its id, and by its project or conversation where that is said."""

    run_id: str
    project: str | None = None
    conversation_id: str | None = None


async def apply(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    rule: Callable[[Run, Loaded], Transition],
    want: Want = NOTHING_ELSE,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """The one way to change a run that exists: authorise → apply → publish."""
    if run_ref.conversation_id is not None:
        key = await locate.conversation_run_key(
            app, principal, Scope.RUNS_WRITE, run_ref.conversation_id, run_ref.run_id
        )
    else:
        key = await locate.run_key(app, principal, Scope.RUNS_WRITE, run_ref.run_id, run_ref.project)

    def decide(loaded: Loaded) -> Transition:
        run = loaded.run
        if run is None or run_ref.conversation_id not in (None, run.conversation_id):
            raise not_found("Run")
        return rule(run, loaded)

    written = await app.store.runs.apply(key, decide, want, idempotency)
    app.publish(written)
    return written


async def get(app: App, principal: Principal, run_ref: RunRef) -> Run:
    if run_ref.conversation_id is not None:
        return await locate.conversation_run(
            app, principal, Scope.RUNS_READ, run_ref.conversation_id, run_ref.run_id
        )
    return await locate.run(app, principal, Scope.RUNS_READ, run_ref.run_id, run_ref.project)


async def complete(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    completion: Completion,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """End the run, once: `transition.accepted` tells whether it stands as this call wanted it."""
    return await apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.complete(run, now=loaded.now, completion=completion, fence=fence),
        idempotency=idempotency,
    )


async def cancel(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    reason: str | None,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Call the run off with all that runs below it: `transition.accepted` tells whether this call did it."""
    return await apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.cancel(run, now=loaded.now, reason=reason),
        idempotency=idempotency,
    )


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """`type` is a key of transitions.RESUMES; `result` any JSON value."""

    type: str
    tool_call_id: str | None = None
    result: Any = None
    is_error: bool = False


async def resume(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    resume: Resume,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Bring what the run waits for. TOOL_RESULT_NOT_WAITING, TOOL_RESULT_CONFLICT, RUN_NOT_ACTIVE."""
    receipt, key = None, receipt_key(transitions.RESUMES[resume.type], resume.tool_call_id)
    if key is not None:
        told = msgspec.json.encode([resume.type, resume.result, resume.is_error], order="sorted")
        receipt = Receipt(key, hashlib.sha256(told).digest())
    return await apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.resume(
            run,
            now=loaded.now,
            kind=resume.type,
            tool_call_id=resume.tool_call_id,
            result=resume.result,
            is_error=resume.is_error,
            receipt=receipt,
            earlier=loaded.receipt,
        ),
        Want(receipt_key=key),
        idempotency,
    )


def receipt_key(reason: StoredReason, tool_call_id: str | None) -> str | None:
    """A call may be approved first and answered later: the reason tells the two apart. A pause is of no call."""
    return None if tool_call_id is None or reason == "pause" else f"{reason}:{tool_call_id}"


async def heartbeat(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    lease_s: int | None,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Renew the lease of the current attempt, without knowing the worker. ATTEMPT_SUPERSEDED where it is lost."""

    def rule(run: Run, loaded: Loaded) -> Transition:
        lease_ms = lease_s * 1000 if lease_s is not None else None
        transition = transitions.renew(run, now=loaded.now, lease_ms=lease_ms, worker=None, fence=fence)
        if not transition.accepted:
            raise Error("ATTEMPT_SUPERSEDED", f"No attempt of the run is under way: it is {run.status.value}")
        return transition

    written = await apply(app, principal, run_ref, rule, idempotency=idempotency)
    if written.run.lease_owner is not None:
        app.worker_activity.add(written.run.lease_owner)
    return written


def dice() -> float:
    """Randomness for jitter, in [0, 1)."""
    return random.random()  # noqa: S311 - spreads retries, guards nothing


async def page(app: App, principal: Principal, project: str | None, query: RunQuery) -> list[Run]:
    """A page of runs of one project, or of every project that the caller may read."""
    ids = await readable(app, principal, project)
    return await app.store.runs.page(msgspec.structs.replace(query, project_ids=ids))


async def readable(app: App, principal: Principal, project: str | None) -> tuple[str, ...]:
    """The ids of that project, or of every project whose runs the caller may read. FORBIDDEN, NOT_FOUND."""
    refuse_bound(principal, "lists no others")
    if project is None:
        return projects_with(principal, Scope.RUNS_READ)
    return ((await locate.project(app, principal, Scope.RUNS_READ, project)).id,)


async def children(app: App, principal: Principal, run_ref: RunRef) -> list[Run]:
    run = await get(app, principal, run_ref)
    return await app.store.runs.children(run.seq, limits.children_rows_max)


async def agent_children(
    app: App, principal: Principal, run_ref: RunRef, after: int, limit: int
) -> list[Run]:
    """The agent runs right below it with a seq over `after`, oldest first, in whichever conversation they speak."""
    run = await get(app, principal, run_ref)
    return await app.store.runs.children(run.seq, limit, after, "agent")


async def tree(app: App, principal: Principal, run_ref: RunRef) -> list[Run]:
    """The run's whole family from its root, oldest first."""
    run = await get(app, principal, run_ref)
    return await app.store.runs.family(run.root_seq or run.seq, limits.tree_rows_max)


async def attempts(app: App, principal: Principal, run_ref: RunRef) -> tuple[Run, list[EndedAttempt]]:
    """The attempts that ended without a completion; the run itself tells of the current or last one."""
    run = await get(app, principal, run_ref)
    return run, await app.store.runs.attempts(run.seq)
