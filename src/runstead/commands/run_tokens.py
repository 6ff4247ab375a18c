"""Tokens of one run, to append its events or to read it; and of one conversation, to read it."""

from runstead.commands import locate
from runstead.commands.app import App
from runstead.commands.issuers import issuer_of
from runstead.core.errors import existing, not_found
from runstead.core.identity.principal import Principal, Scope, for_appending, refuse_bound
from runstead.core.runs.transitions.machine import not_active
from runstead.ports.store import RunKey


async def for_child(
    app: App, principal: Principal, run_id: str, child_run_id: str, project: str | None
) -> str:
    """Sign a token for a direct child. The caller must be allowed to append the parent's events.

    Raises NOT_FOUND, RUN_NOT_ACTIVE.
    """
    caller = for_appending(principal, run_id)
    key = await locate.run_key(app, caller, Scope.RUNS_WRITE, run_id, project)
    parent = existing(await app.store.runs.get(key), "Run")
    child = await app.store.runs.get(RunKey(key.project_id, child_run_id))
    if child is None or child.parent_seq != parent.seq:
        raise not_found("Child run")
    if child.terminal:
        raise not_active(child)
    return await app.keyring.run_event_token(
        user_id=principal.id,
        service_id=principal.service_id or principal.id,
        issuer=await issuer_of(app.store, principal, Scope.RUNS_WRITE, key.project_id),
        project_id=key.project_id,
        run_id=child.run_id,
    )


async def for_reading(
    app: App, principal: Principal, run_id: str, project: str | None, *, expires_in_s: int, family: bool
) -> tuple[str, int]:
    """Sign a token to read the run, and with `family` its descendants. Return it with the time at which it expires (ms).

    Raises NOT_FOUND, FORBIDDEN.
    """
    run = await locate.run(app, principal, Scope.RUNS_READ, run_id, project)
    return await app.keyring.access_token(
        user_id=principal.id,
        issuer=await issuer_of(app.store, principal, Scope.RUNS_READ, run.project_id),
        project_id=run.project_id,
        run_id=run.run_id,
        valid_s=expires_in_s,
        family=family,
    )


async def for_reading_conversation(
    app: App, principal: Principal, conversation_id: str, *, expires_in_s: int
) -> tuple[str, int]:
    """Sign a token to read the conversation and its runs. Return it with the time at which it expires (ms).

    Raises NOT_FOUND, FORBIDDEN.
    """
    refuse_bound(principal, "cannot get tokens of conversations")
    found = await locate.conversation(app, principal, Scope.RUNS_READ, conversation_id)
    return await app.keyring.conversation_token(
        user_id=principal.id,
        issuer=await issuer_of(app.store, principal, Scope.RUNS_READ, found.project_id),
        project_id=found.project_id,
        conversation_id=found.id,
        valid_s=expires_in_s,
    )
