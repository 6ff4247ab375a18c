"""Waits of a run: for a resume, for a time, or for the end of a child."""

from contextlib import suppress

import msgspec

from runstead.commands.app import App
from runstead.commands.runs import RunRef, apply_at, write_key
from runstead.core.errors import Error, invalid_at, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal
from runstead.core.runs import transitions
from runstead.core.runs.run import Run, WaitingReason
from runstead.core.runs.signal import AwaitedEvent, WantedSignals
from runstead.core.runs.transition import Loaded, Transition, Want
from runstead.core.runs.transitions import Fence
from runstead.ports.store import RunKey, Written


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """A wait to begin. Times in ms.

    `approvals`: call ids of other open approvals. `events`: a signal of one of them resumes the run. `release`: the wait
    also ends the attempt and its lease.
    """

    reason: WaitingReason
    tool_call_id: str | None = None
    tool_name: str | None = None
    resume_at: int | None = None
    expires_at: int | None = None
    awaited_run_id: str | None = None
    approvals: tuple[str, ...] = ()
    events: tuple[AwaitedEvent, ...] = ()
    release: bool = False


async def wait(
    app: App, principal: Principal, run_ref: RunRef, wait: Wait, fence: Fence, idempotency: Idempotency = None
) -> Written:
    """Let the run wait until a resume. If the awaited child has already ended, the run does not wait.

    Raises RUN_NOT_ACTIVE, RUN_ALREADY_WAITING, ATTEMPT_SUPERSEDED; INVALID_REQUEST for other runs.
    """
    if transitions.budget_of_call(wait.tool_call_id) is not None:
        sentence = "A tool_call_id that begins with budget: belongs to the server: use another one"
        raise invalid_at("$.tool_call_id", "reserved", sentence)
    key, awaited = await write_key(app, principal, run_ref), None
    if wait.awaited_run_id is not None:
        awaited = await _mark_awaited(app, key, wait.awaited_run_id)
        if awaited.terminal:
            return await apply_at(app, key, lambda run, _: _unchanged(run, fence), idempotency=idempotency)
    written = await apply_at(
        app,
        key,
        lambda run, loaded: transitions.wait(
            run,
            now=loaded.now,
            fence=fence,
            earlier=loaded.receipt,
            signals=loaded.signals.oldest,
            **msgspec.structs.asdict(wait),
        ),
        Want(
            receipt_key=transitions.receipt_key(wait.reason, wait.tool_call_id),
            signals=WantedSignals(names=tuple({each.name: None for each in wait.events}))
            if wait.events
            else None,
        ),
        idempotency,
    )
    if awaited is not None:
        # The child may have ended or been deleted between the two steps. The deadlines loop would find an
        # ended child later, but not a deleted one.
        child = await app.store.runs.get(RunKey(awaited.project_id, awaited.run_id))
        if child is None or child.terminal:
            await resume_parent(app, child or awaited)
    return written


async def _mark_awaited(app: App, parent: RunKey, run_id: str) -> Run:
    """Mark the child as awaited, so that its end resumes the parent. Returns the child.

    A caller that may let a run wait may wait for any child of it. Raises INVALID_REQUEST; NOT_FOUND (parent).
    """

    def decide(loaded: Loaded) -> Transition:
        child = loaded.run
        if child is None or child.parent_run_id != parent.run_id:
            message = f"A run can wait for its children only, and {run_id} is not a child of {parent.run_id}"
            raise invalid_at("$.awaited_run_id", message)
        return transitions.mark_awaited(child, now=loaded.now)

    try:
        return (await app.store.runs.apply(RunKey(parent.project_id, run_id), decide)).run
    except Error as error:
        if error.code == "INVALID_REQUEST" and await app.store.runs.get(parent) is None:
            raise not_found("Run") from None
        raise


def _unchanged(run: Run, fence: Fence) -> Transition:
    fence.check(run)
    return Transition(run, duplicate=True)


async def resume_parent(app: App, child: Run) -> None:
    """Resume the parent if it waits for this child, which has ended or was deleted. Safe to repeat."""
    assert child.parent_run_id is not None
    parent, settled = RunKey(child.project_id, child.parent_run_id), True

    def decide(loaded: Loaded) -> Transition:
        return transitions.resume_parent(_existing(loaded), now=loaded.now, child=child)

    with suppress(_GoneError):
        written = await app.store.runs.apply(parent, decide)
        app.publish(written)
        settled = written.transition.accepted
    if settled:
        with suppress(_GoneError):
            key = RunKey(child.project_id, child.run_id)
            await app.store.runs.apply(key, lambda loaded: transitions.clear_awaited(_existing(loaded)))


class _GoneError(Exception):
    """The run was deleted."""


def _existing(loaded: Loaded) -> Run:
    if loaded.run is None:
        raise _GoneError
    return loaded.run
