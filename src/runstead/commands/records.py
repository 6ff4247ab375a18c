"""Pause, rename and delete a run, and read its usage."""

from collections.abc import Mapping

from runstead.commands import runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.commands.waits import resume_parent
from runstead.core.audit import by
from runstead.core.errors import existing
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope, refuse_bound, require
from runstead.core.runs import transitions
from runstead.core.runs.run import Run
from runstead.core.runs.transitions import IfMatch
from runstead.core.usage.usage import FamilyUsage
from runstead.ports.store import Written


async def pause(app: App, principal: Principal, run_ref: RunRef, idempotency: Idempotency = None) -> Written:
    """Pause the run until a resume with the type unpause. Raises RUN_ALREADY_WAITING, RUN_NOT_ACTIVE."""
    return await runs.apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.pause(run, now=loaded.now),
        idempotency=idempotency,
        action="run.pause",
    )


async def rename(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    names: Mapping[str, str | bytes | None],
    if_match: IfMatch | None,
    idempotency: Idempotency = None,
) -> Written:
    """Set title and labels, in any state. Raises PRECONDITION_REQUIRED, PRECONDITION_FAILED."""
    return await runs.apply(
        app,
        principal,
        run_ref,
        lambda run, loaded: transitions.rename(run, now=loaded.now, names=names, if_match=if_match),
        idempotency=idempotency,
    )


async def delete(app: App, principal: Principal, run_ref: RunRef) -> Written:
    """Delete an ended run without children, and all that belongs to it.

    Raises RUN_NOT_TERMINAL, RUN_HAS_CHILDREN.
    """
    refuse_bound(principal, "cannot delete runs")
    key = await runs.write_key(app, principal, run_ref)
    before = existing(await app.store.runs.get(key), "Run")
    require(principal, Scope.ADMIN, key.project_id, "Run")
    resumed = before.terminal and before.awaited_at is not None
    if resumed:
        # The parent waits for this run, and could not be resumed after the deletion.
        await resume_parent(app, before)
    audit = by(principal, "run.delete", key.project_id)
    written = await runs.apply_at(app, key, lambda run, _: transitions.delete(run), audit=audit)
    if not resumed and written.run.awaited_at is not None:
        await resume_parent(app, written.run)  # it ended after it was read above
    return written


async def usage(app: App, principal: Principal, run_ref: RunRef) -> tuple[Run, FamilyUsage]:
    """Return the usage of the run, of its descendants and of its family."""
    refuse_bound(principal, "cannot read other runs")
    run = await runs.get(app, principal, run_ref)
    return run, await app.store.runs.usage(run)
