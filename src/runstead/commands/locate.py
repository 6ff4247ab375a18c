"""From what a caller names to what the store holds: visible things only, anything else is not found."""

from runstead.commands.app import App
from runstead.core.conversations.conversation import Conversation, live
from runstead.core.errors import Error, not_found
from runstead.core.identity.principal import Principal, Scope, refuse_bound, require
from runstead.core.identity.project import Project
from runstead.core.runs.run import Run
from runstead.ports.store import RunKey


async def project(app: App, principal: Principal, scope: Scope, ref: str) -> Project:
    """A project by id or slug, in which the caller has the scope."""
    found = await app.store.identity.project(ref)
    if found is None:
        raise not_found("Project")
    require(principal, scope, found.id, "Project")
    return found


async def _bound_to(app: App, principal: Principal, run_id: str) -> bool:
    """Whether a token that is bound to a run is good for this one: it is that run, or one below it."""
    if principal.run_id in (None, run_id):
        return True
    if not principal.family or principal.run_id is None or len(principal.grants) != 1:
        return False
    (project_id,) = principal.grants
    top = await app.store.runs.get(RunKey(project_id, principal.run_id))
    run = await app.store.runs.get(RunKey(project_id, run_id))
    return top is not None and run is not None and f"/{top.seq}/" in run.path


async def refuse_outside(app: App, principal: Principal, parent_run_id: str | None, what: str) -> None:
    """A bound token makes nothing of its own, but a service's makes runs below its run."""
    if principal.run_id is None:
        return
    if not principal.family or parent_run_id is None:
        refuse_bound(principal, what)
    elif not await _bound_to(app, principal, parent_run_id):
        raise not_found("Parent run")


async def run_key(
    app: App, principal: Principal, scope: Scope, run_id: str, project_ref: str | None
) -> RunKey:
    """Where to find a run. A caller with one project pays no look-up: the command itself finds out."""
    if principal.run_id is not None and not await _bound_to(app, principal, run_id):
        raise not_found("Run")
    if project_ref is not None:
        found = await app.store.identity.project(project_ref)
        if found is None:
            raise not_found("Run")
        require(principal, scope, found.id, "Run")
        return RunKey(found.id, run_id)
    if len(principal.grants) == 1:
        (project_id,) = principal.grants
        require(principal, scope, project_id, "Run")
        return RunKey(project_id, run_id)
    runs = await app.store.runs.find(run_id, tuple(principal.grants))
    if not runs:
        raise not_found("Run")
    if len(runs) > 1:
        raise Error(
            "RUN_ID_AMBIGUOUS", f"Several of your projects hold the run {run_id}: name one with ?project="
        )
    require(principal, scope, runs[0].project_id, "Run")
    return RunKey(runs[0].project_id, run_id)


async def run(
    app: App, principal: Principal, scope: Scope, run_id: str, project_ref: str | None = None
) -> Run:
    found = await app.store.runs.get(await run_key(app, principal, scope, run_id, project_ref))
    if found is None:
        raise not_found("Run")
    return found


async def conversation(app: App, principal: Principal, scope: Scope, conversation_id: str) -> Conversation:
    """One that was deleted is not found."""
    found = await app.store.conversations.get(conversation_id)
    if found is None:
        raise not_found("Conversation")
    require(principal, scope, found.project_id, "Conversation")
    return live(found)


async def refuse_place(app: App, principal: Principal, project_id: str, conversation_id: str | None) -> None:
    """NOT_FOUND where the caller may not let what starts runs of this project by itself speak in it."""
    if conversation_id is not None:
        place = await conversation(app, principal, Scope.RUNS_WRITE, conversation_id)
        if place.project_id != project_id:
            raise not_found("Conversation")


async def conversation_run_key(
    app: App, principal: Principal, scope: Scope, conversation_id: str, run_id: str
) -> RunKey:
    """Where to find a run of a conversation. Whoever loads it still checks that it is of this conversation.

    The runs of a deleted conversation are there: they can be followed and brought to their end.
    """
    if principal.run_id is not None and not await _bound_to(app, principal, run_id):
        raise not_found("Run")
    if len(principal.grants) == 1:
        (project_id,) = principal.grants
        require(principal, scope, project_id, "Run")
        return RunKey(project_id, run_id)
    found = await app.store.conversations.get(conversation_id)
    if found is None:
        raise not_found("Run")
    require(principal, scope, found.project_id, "Run")
    return RunKey(found.project_id, run_id)


async def conversation_run(
    app: App, principal: Principal, scope: Scope, conversation_id: str, run_id: str
) -> Run:
    found = await app.store.runs.get(
        await conversation_run_key(app, principal, scope, conversation_id, run_id)
    )
    if found is None or found.conversation_id != conversation_id:
        raise not_found("Run")
    return found
