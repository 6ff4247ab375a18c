"""Find projects, runs and conversations by their names. What the caller may not see is NOT_FOUND."""

from runstead.commands.app import App
from runstead.core.conversations.conversation import Conversation, live
from runstead.core.errors import Error, existing, not_found
from runstead.core.identity.principal import Principal, Scope, refuse_bound, require
from runstead.core.identity.project import Project
from runstead.core.runs.run import Run
from runstead.ports.store import RunKey


async def project(
    app: App, principal: Principal, scope: Scope, ref: str, *, bound: str | None = None
) -> Project:
    """Return a project by id or slug, in which the caller has the scope. Raises NOT_FOUND, FORBIDDEN.

    `bound`: what a token of one run or conversation cannot do. Such a token is refused.
    """
    if bound is not None:
        refuse_bound(principal, bound)
    found = existing(await app.store.identity.project(ref), "Project")
    require(principal, scope, found.id, "Project")
    return found


async def _covers(app: App, principal: Principal, run_id: str) -> bool:
    """Return whether a token of one run covers this run: the same run, or one of its descendants. A token of a
    conversation covers the runs of the conversation.
    """
    if principal.conversation_id is not None:
        (project_id,) = principal.grants
        found = await app.store.runs.get(RunKey(project_id, run_id))
        return found is not None and found.conversation_id == principal.conversation_id
    if principal.run_id in (None, run_id):
        return True
    if not principal.family or principal.run_id is None or len(principal.grants) != 1:
        return False
    (project_id,) = principal.grants
    root = await app.store.runs.get(RunKey(project_id, principal.run_id))
    run = await app.store.runs.get(RunKey(project_id, run_id))
    return root is not None and run is not None and f"/{root.seq}/" in run.path


async def refuse_outside(app: App, principal: Principal, parent_run_id: str | None, what: str) -> None:
    """Refuse to create a run with a token of one run.

    A push service's token may create descendants of its run.
    """
    if principal.bound_to is None:
        return
    if not principal.family or parent_run_id is None:
        refuse_bound(principal, what)
    elif not await _covers(app, principal, parent_run_id):
        raise not_found("Parent run")


async def run_key(
    app: App, principal: Principal, scope: Scope, run_id: str, project_ref: str | None
) -> RunKey:
    """Return the key of a run.

    For a caller with one project no row is read: the command finds out if the run exists.

    Raises NOT_FOUND, FORBIDDEN, RUN_ID_AMBIGUOUS.
    """
    if principal.bound_to is not None and not await _covers(app, principal, run_id):
        raise not_found("Run")
    if project_ref is not None:
        found = existing(await app.store.identity.project(project_ref), "Run")
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
            "RUN_ID_AMBIGUOUS", f"Several of your projects have a run {run_id}: choose one with ?project="
        )
    require(principal, scope, runs[0].project_id, "Run")
    return RunKey(runs[0].project_id, run_id)


async def run(
    app: App, principal: Principal, scope: Scope, run_id: str, project_ref: str | None = None
) -> Run:
    """Return a run in which the caller has the scope. Raises NOT_FOUND, FORBIDDEN, RUN_ID_AMBIGUOUS."""
    return existing(
        await app.store.runs.get(await run_key(app, principal, scope, run_id, project_ref)), "Run"
    )


async def conversation(app: App, principal: Principal, scope: Scope, conversation_id: str) -> Conversation:
    """Return a conversation in which the caller has the scope. Raises NOT_FOUND, also if it was deleted.

    A token of one run reaches the conversation of that run, and one of a conversation reaches that one. A push
    service's token also reaches those that the service created for the run and its descendants.
    """
    found = existing(await app.store.conversations.get(conversation_id), "Conversation")
    require(principal, scope, found.project_id, "Conversation")
    if principal.bound_to is not None and not await _covers_conversation(app, principal, found):
        raise not_found("Conversation")
    return live(found)


async def _covers_conversation(app: App, principal: Principal, found: Conversation) -> bool:
    if principal.conversation_id is not None:
        return principal.conversation_id == found.id
    if principal.family and found.run_id is not None and await _covers(app, principal, found.run_id):
        return True
    assert principal.run_id is not None
    run = await app.store.runs.get(RunKey(found.project_id, principal.run_id))
    return run is not None and run.conversation_id == found.id


async def check_conversation(
    app: App, principal: Principal, project_id: str, conversation_id: str | None
) -> None:
    """Raise NOT_FOUND unless schedules and triggers of the project may create runs in the conversation."""
    if conversation_id is not None:
        found = await conversation(app, principal, Scope.RUNS_WRITE, conversation_id)
        if found.project_id != project_id:
            raise not_found("Conversation")


async def conversation_run_key(
    app: App, principal: Principal, scope: Scope, conversation_id: str, run_id: str
) -> RunKey:
    """Return the key of a run of a conversation.

    The caller must check that the run belongs to the conversation.

    Runs of a deleted conversation are found, so that they can be followed and completed.
    """
    if principal.bound_to is not None and not await _covers(app, principal, run_id):
        raise not_found("Run")
    if len(principal.grants) == 1:
        (project_id,) = principal.grants
        require(principal, scope, project_id, "Run")
        return RunKey(project_id, run_id)
    found = existing(await app.store.conversations.get(conversation_id), "Run")
    require(principal, scope, found.project_id, "Run")
    return RunKey(found.project_id, run_id)


async def conversation_run(
    app: App, principal: Principal, scope: Scope, conversation_id: str, run_id: str
) -> Run:
    """Return a run of a conversation. Raises NOT_FOUND, FORBIDDEN."""
    found = await app.store.runs.get(
        await conversation_run_key(app, principal, scope, conversation_id, run_id)
    )
    if found is None or found.conversation_id != conversation_id:
        raise not_found("Run")
    return found
