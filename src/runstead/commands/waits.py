"""Letting a run wait: for what somebody brings, for a time, or for the end of a run right below it."""

from contextlib import suppress

import msgspec

from runstead.commands import locate
from runstead.commands.app import App
from runstead.commands.runs import RunRef, apply, receipt_key
from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, Scope
from runstead.core.runs import transitions
from runstead.core.runs.run import Run, WaitingReason
from runstead.core.runs.transition import Loaded, Transition, Want
from runstead.core.runs.transitions import Fence
from runstead.ports.store import RunKey, Written


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Times in ms. `release`: the worker gives its lease back in the same step."""

    reason: WaitingReason
    tool_call_id: str | None = None
    tool_name: str | None = None
    resume_at: int | None = None
    expires_at: int | None = None
    awaited_run_id: str | None = None
    release: bool = False


async def wait(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    wait: Wait,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Hold the run until a resume. RUN_NOT_ACTIVE, RUN_ALREADY_WAITING, ATTEMPT_SUPERSEDED; INVALID_REQUEST for an
    awaited run that is not right below it. Where that has ended already, the run does not wait.
    """
    awaited = None
    if wait.awaited_run_id is not None:
        awaited = await _await_end(app, principal, run_ref, wait.awaited_run_id)
        if awaited.terminal:
            return await apply(
                app, principal, run_ref, lambda run, _: _unchanged(run, fence), idempotency=idempotency
            )
    written = await apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.wait(
            run,
            now=loaded.now,
            reason=wait.reason,
            tool_call_id=wait.tool_call_id,
            tool_name=wait.tool_name,
            resume_at=wait.resume_at,
            expires_at=wait.expires_at,
            fence=fence,
            earlier=loaded.receipt,
            waiting_run_id=wait.awaited_run_id,
            release=wait.release,
        ),
        Want(receipt_key=receipt_key(wait.reason, wait.tool_call_id)),
        idempotency,
    )
    if awaited is not None:
        # It may have ended between the two steps; the referee would find it too, only later, and not what was deleted.
        now = await app.store.runs.get(RunKey(awaited.project_id, awaited.run_id))
        if now is None or now.terminal:
            await resume_parent(app, now or awaited)
    return written


async def _await_end(app: App, principal: Principal, run_ref: RunRef, run_id: str) -> Run:
    """The awaited run, marked so that its end is told. Whoever may let a run wait may wait for those right below it."""
    above = await locate.run_key(app, principal, Scope.RUNS_WRITE, run_ref.run_id, run_ref.project)

    def decide(loaded: Loaded) -> Transition:
        child = loaded.run
        if child is None or child.parent_run_id != above.run_id:
            sentence = (
                f"A run waits for one right below it, and no run {run_id} is right below {above.run_id}"
            )
            raise Error("INVALID_REQUEST", sentence, errors=(("$.awaited_run_id", sentence),))
        return transitions.mark_awaited(child, now=loaded.now)

    return (await app.store.runs.apply(RunKey(above.project_id, run_id), decide)).run


def _unchanged(run: Run, fence: Fence) -> Transition:
    fence.check(run)
    return Transition(run, duplicate=True)


async def resume_parent(app: App, child: Run) -> None:
    """Let the run above go on, where it waits for this one, which has ended or was deleted. Called by the server itself,
    any number of times.
    """
    assert child.parent_run_id is not None
    above, settled = RunKey(child.project_id, child.parent_run_id), True

    def go_on(loaded: Loaded) -> Transition:
        return transitions.resume_parent(_there(loaded), now=loaded.now, child=child)

    with suppress(_GoneError):
        written = await app.store.runs.apply(above, go_on)
        app.publish(written)
        settled = written.transition.accepted
    if settled:
        with suppress(_GoneError):
            key = RunKey(child.project_id, child.run_id)
            await app.store.runs.apply(key, lambda loaded: transitions.clear_awaited(_there(loaded)))


class _GoneError(Exception):
    """The run was deleted meanwhile."""


def _there(loaded: Loaded) -> Run:
    if loaded.run is None:
        raise _GoneError
    return loaded.run
