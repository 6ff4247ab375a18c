"""Pausing a run, naming it, deleting it, and what it used."""

from collections.abc import Mapping

from runstead.commands import locate, runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.commands.waits import resume_parent
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, Scope, refuse_bound, require
from runstead.core.runs import transitions
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Loaded, Transition
from runstead.core.runs.transitions import IfMatch
from runstead.core.usage.usage import FamilyUsage
from runstead.ports.store import Written


async def pause(
    app: App, principal: Principal, run_ref: RunRef, idempotency: IdempotencyRecord | None = None
) -> Written:
    """Hold the run back until an unpause. RUN_ALREADY_WAITING, RUN_NOT_ACTIVE."""
    return await runs.apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.pause(run, now=loaded.now),
        idempotency=idempotency,
    )


async def rename(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    names: Mapping[str, str | bytes | None],
    if_match: IfMatch | None,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Set title and labels, in any state. PRECONDITION_REQUIRED, PRECONDITION_FAILED."""
    return await runs.apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.rename(run, now=loaded.now, names=names, if_match=if_match),
        idempotency=idempotency,
    )


async def delete(app: App, principal: Principal, run_ref: RunRef) -> Written:
    """Remove an ended run without runs below it, and all that belongs to it. RUN_NOT_TERMINAL, RUN_HAS_CHILDREN."""
    refuse_bound(principal, "deletes nothing")
    key = await locate.run_key(app, principal, Scope.RUNS_WRITE, run_ref.run_id, run_ref.project)
    before = await app.store.runs.get(key)
    told = before is not None and before.terminal and before.awaited_at is not None
    if before is not None and told:
        # Once it is gone, nobody finds it to tell of its end.
        await resume_parent(app, before)

    def rule(run: Run, _: Loaded) -> Transition:
        # Found first: whoever cannot see the run learns nothing of it, not even which scope it would take.
        require(principal, Scope.ADMIN, run.project_id, "Run")
        return transitions.delete(run)

    written = await runs.apply(app, principal, run_ref, rule)
    if not told and written.run.awaited_at is not None:
        await resume_parent(app, written.run)  # it ended only just now
    return written


async def usage(app: App, principal: Principal, run_ref: RunRef) -> tuple[Run, FamilyUsage]:
    refuse_bound(principal, "reads no others")
    run = await runs.get(app, principal, run_ref)
    return run, await app.store.runs.usage(run)
