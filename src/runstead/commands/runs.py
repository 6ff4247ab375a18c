"""Runs: read, complete, cancel and resume them."""

import hashlib
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from runstead.commands import locate
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.audit import Action, Audit, by
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, Scope, projects_with, refuse_bound
from runstead.core.runs import transitions
from runstead.core.runs.run import Run
from runstead.core.runs.transition import (
    NOTHING_ELSE,
    SPENDING,
    EndedAttempt,
    Loaded,
    Receipt,
    Transition,
    Want,
    audited,
)
from runstead.core.runs.transitions import Completion, Fence
from runstead.ports.store import ListPage, RunKey, RunQuery, SeqPage, Written


class RunRef(msgspec.Struct, frozen=True):
    """A run as the caller refers to it: its id, and optionally its project or its conversation."""

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
    *,
    action: Action | None = None,
    details: Mapping[str, Any] | None = None,
) -> Written:
    """Change an existing run: authorize the caller, apply the rule in a transaction, publish the change.

    The audit log records the change as `action`, with `details`; None: it does not record it.

    Raises NOT_FOUND, FORBIDDEN, RUN_ID_AMBIGUOUS, and what the rule raises.
    """
    conversation_id = run_ref.conversation_id

    def audit(key: RunKey) -> Audit | None:
        return None if action is None else by(principal, action, key.project_id, **(details or {}))

    if conversation_id is None:
        key = await write_key(app, principal, run_ref)
        return await apply_at(app, key, rule, want, idempotency, audit(key))
    key = await locate.conversation_run_key(app, principal, Scope.RUNS_WRITE, conversation_id, run_ref.run_id)

    def in_conversation(run: Run, loaded: Loaded) -> Transition:
        if run.conversation_id != conversation_id:
            raise not_found("Run")
        return rule(run, loaded)

    return await apply_at(app, key, in_conversation, want, idempotency, audit(key))


async def write_key(app: App, principal: Principal, run_ref: RunRef) -> RunKey:
    """Authorize a write of a run. Returns its key. Raises NOT_FOUND, FORBIDDEN, RUN_ID_AMBIGUOUS."""
    return await locate.run_key(app, principal, Scope.RUNS_WRITE, run_ref.run_id, run_ref.project)


async def apply_at(
    app: App,
    key: RunKey,
    rule: Callable[[Run, Loaded], Transition],
    want: Want = NOTHING_ELSE,
    idempotency: IdempotencyRecord | None = None,
    audit: Audit | None = None,
) -> Written:
    """Change the run of an authorized key, publish the change, and record it in the audit log if there is an `audit`.

    Raises NOT_FOUND, and what the rule raises.
    """

    def decide(loaded: Loaded) -> Transition:
        if loaded.run is None:
            raise not_found("Run")
        return rule(loaded.run, loaded)

    rule_to_apply = decide if audit is None else audited(decide, audit)
    written = await app.store.runs.apply(key, rule_to_apply, want, idempotency)
    app.publish(written)
    # Compensations are active, and no cancel reaches them.
    if written.transition.cancels_family and written.run.descendants_active > len(written.compensations):
        return await _with_descendants(app, written)
    return written


async def _with_descendants(app: App, cancelled: Written) -> Written:
    """Cancel the descendants of a large family.

    If the store fails or the server stops before all are cancelled, a loop cancels the others.
    """
    run, active = cancelled.run, len(cancelled.compensations)
    try:
        await cancel_descendants(app, run.seq, limits.family_cancel_rounds_max)
        if (stored := await app.store.runs.get(RunKey(run.project_id, run.run_id))) is not None:
            active = stored.descendants_active
    except Error as error:
        if error.retry_after_s is None:
            raise
    return replace(cancelled, run=replace(run, descendants_active=active))


async def get(app: App, principal: Principal, run_ref: RunRef) -> Run:
    """Return a run. Raises NOT_FOUND, FORBIDDEN, RUN_ID_AMBIGUOUS."""
    if run_ref.conversation_id is not None:
        return await locate.conversation_run(
            app, principal, Scope.RUNS_READ, run_ref.conversation_id, run_ref.run_id
        )
    return await locate.run(app, principal, Scope.RUNS_READ, run_ref.run_id, run_ref.project)


async def get_with_descendants(app: App, principal: Principal, run_ref: RunRef) -> Run:
    """Return a run whose descendants the caller may read.

    Raises what `get` raises; FORBIDDEN for a token of one run.
    """
    run = await get(app, principal, run_ref)
    if not principal.reads_descendants:
        refuse_bound(principal, "cannot read other runs")
    return run


async def complete(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    completion: Completion,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Complete the run. `transition.accepted` is true if the run has the status that this call wanted."""
    return await apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.counted_at_end(
            transitions.complete(run, now=loaded.now, completion=completion, fence=fence),
            completion.metadata,
            loaded.spending,
        ),
        NOTHING_ELSE if completion.metadata is None else SPENDING,
        idempotency,
    )


async def cancel(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    reason: str | None,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Cancel the run and its descendants. `transition.accepted` is true if this call cancelled it."""
    return await apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.cancel(run, now=loaded.now, reason=reason),
        idempotency=idempotency,
        action="run.cancel",
    )


async def cancel_descendants(app: App, seq: int, rounds: int) -> int:
    """Cancel the active descendants of a cancelled run, in at most `rounds` bounded transactions.

    Returns their number.
    """
    count, after = 0, 0
    for _ in range(rounds):
        most = limits.family_cancel_rows_max
        cancelled = await app.store.runs.cancel_descendants(seq, after, most)
        for written in cancelled:
            app.publish(written)
        count += len(cancelled)
        if len(cancelled) < most:
            break
        after = cancelled[-1].run.seq
    return count


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """The result that a waiting run gets. `type` is a key of transitions.RESUMES, `result` any JSON value."""

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
    """Resume a waiting run. An approval without a call id answers the run's only open approval.

    Raises TOOL_RESULT_NOT_WAITING, TOOL_RESULT_CONFLICT, RUN_NOT_ACTIVE.
    """
    if resume.type == "approval" and resume.tool_call_id is None:
        run = await app.store.runs.get(await write_key(app, principal, run_ref))
        resume = replace(resume, tool_call_id=None if run is None else transitions.only_approval(run))
    if resume.type == "approval" and transitions.budget_of_call(resume.tool_call_id) is not None:
        return await _answer_budget(app, principal, run_ref, resume, idempotency)
    receipt, key = None, transitions.receipt_key(transitions.RESUMES[resume.type], resume.tool_call_id)
    if key is not None:
        content = msgspec.json.encode([resume.type, resume.result, resume.is_error], order="sorted")
        receipt = Receipt(key, hashlib.sha256(content).digest())
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
        action="run.resume",
        details=_decision(resume),
    )


async def _answer_budget(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    resume: Resume,
    idempotency: IdempotencyRecord | None,
) -> Written:
    """Let a run continue that a budget stopped, raise the limit, or end the run. No receipt: it may be stopped again."""
    refuse_bound(principal, "cannot answer budgets")
    call_id = resume.tool_call_id
    assert call_id is not None
    answer = transitions.answer_of(resume.result)

    def rule(run: Run, loaded: Loaded) -> Transition:
        return transitions.answer_budget(
            run,
            now=loaded.now,
            tool_call_id=call_id,
            answer=answer,
            result=resume.result,
            spending=loaded.spending,
            may_raise=Scope.ADMIN in principal.grants.get(run.project_id, frozenset()),
        )

    details = _decision(resume)
    if answer.raises:
        details |= {"raise_tokens": answer.raise_tokens, "raise_micros": answer.raise_micros}
    return await apply(
        app, principal, run_ref, rule, SPENDING, idempotency, action="run.resume", details=details
    )


def _decision(resume: Resume) -> dict[str, Any]:
    """What the audit log keeps of a resume: of the result only whether it approves or is an error."""
    result = resume.result
    if isinstance(result, dict):
        result = result.get("approved")
    approved = {"approved": result} if resume.type == "approval" and isinstance(result, bool) else {}
    return {"type": resume.type, "tool_call_id": resume.tool_call_id, "is_error": resume.is_error} | approved


async def heartbeat(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    lease_s: int | None,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Renew the lease of the current attempt, of any worker.

    Raises ATTEMPT_SUPERSEDED if the lease is lost.
    """

    def rule(run: Run, loaded: Loaded) -> Transition:
        lease_ms = lease_s * 1000 if lease_s is not None else None
        transition = transitions.renew(run, now=loaded.now, lease_ms=lease_ms, worker=None, fence=fence)
        if not transition.accepted:
            raise Error("ATTEMPT_SUPERSEDED", f"The run has no active attempt: it is {run.status.value}")
        return transition

    written = await apply(app, principal, run_ref, rule, idempotency=idempotency)
    if written.run.lease_owner is not None:
        app.worker_activity.add(written.run.lease_owner)
    return written


def dice() -> float:
    """Return a random number in [0, 1) for jitter."""
    return random.random()  # noqa: S311 - jitter, not a secret


async def page(app: App, principal: Principal, project: str | None, query: RunQuery) -> ListPage[Run]:
    """List runs of one project, or of every project that the caller may read."""
    ids = await readable(app, principal, project)
    return await app.store.runs.page(msgspec.structs.replace(query, project_ids=ids))


async def readable(app: App, principal: Principal, project: str | None) -> tuple[str, ...]:
    """Return the id of the project, or of every project whose runs the caller may read.

    Raises FORBIDDEN, NOT_FOUND.
    """
    refuse_bound(principal, "cannot list other runs")
    if project is None:
        return projects_with(principal, Scope.RUNS_READ)
    return ((await locate.project(app, principal, Scope.RUNS_READ, project)).id,)


def _refuse_without_family(principal: Principal) -> None:
    if principal.kind == "run_reader" and not principal.family:
        refuse_bound(principal, "cannot read its descendants: get a token with `family`")


async def children(
    app: App, principal: Principal, run_ref: RunRef, page: SeqPage, kind: str | None = None
) -> ListPage[Run]:
    """List the direct children of a run (of one kind), oldest first, of any conversation.

    FORBIDDEN for an access token of one run without its family.
    """
    _refuse_without_family(principal)
    run = await get(app, principal, run_ref)
    return await app.store.runs.children(run.seq, page, kind)


async def tree(app: App, principal: Principal, run_ref: RunRef, page: SeqPage) -> ListPage[Run]:
    """List the run's whole family from its root, oldest first.

    For a token of one run the root is that run: it reads neither ancestors nor siblings of its run. FORBIDDEN for an
    access token without the family.
    """
    _refuse_without_family(principal)
    run = await get(app, principal, run_ref)
    under = None
    if principal.run_id is not None:
        bound = RunRef(principal.run_id, project=run.project_id)
        under = (run if run.run_id == principal.run_id else await get(app, principal, bound)).seq
    return await app.store.runs.family(run.root_seq or run.seq, page, under)


async def attempts(
    app: App, principal: Principal, run_ref: RunRef, after: int = 0
) -> tuple[Run, ListPage[EndedAttempt]]:
    """Return the run, and a page of its attempts after a number that ended without a completion.

    The run's row holds the latest attempt.
    """
    run = await get(app, principal, run_ref)
    return run, await app.store.runs.attempts(run.seq, after, limits.list_page_bytes_max)
