"""Saved views: named filters of the list of runs."""

from runstead.commands import locate
from runstead.commands.app import App
from runstead.core.clock import now_ms
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.runs.saved_view import SHARED, SavedView, checked_name, refuse_more_views


async def save(
    app: App, principal: Principal, ref: str, name: str, filters: str, *, shared: bool
) -> SavedView:
    """Save a view in place of the one with its name. One that the project shares needs the scope `runs:write`.

    Raises NOT_FOUND, FORBIDDEN; INVALID_REQUEST for an invalid name or too many views.
    """
    project_id, owner = await _owner(app, principal, ref, shared=shared)
    view = SavedView(project_id, owner, checked_name(name), filters, now_ms())
    await app.store.saved_views.put(view, refuse_more_views)
    return view


async def of(app: App, principal: Principal, ref: str) -> list[SavedView]:
    """Return the caller's views, then those that the project shares, by name. Raises NOT_FOUND, FORBIDDEN."""
    project_id, owner = await _owner(app, principal, ref, shared=False)
    found = await app.store.saved_views.of(project_id, owner)
    return sorted(found, key=lambda view: (view.shared, view.name.lower(), view.name))


async def delete(app: App, principal: Principal, ref: str, name: str, *, shared: bool) -> None:
    """Delete a view if it exists. One that the project shares needs the scope `runs:write`.

    Raises NOT_FOUND, FORBIDDEN; INVALID_REQUEST for a name that no view has.
    """
    project_id, owner = await _owner(app, principal, ref, shared=shared)
    await app.store.saved_views.delete(project_id, owner, checked_name(name))


async def _owner(app: App, principal: Principal, ref: str, *, shared: bool) -> tuple[str, str]:
    refuse_bound(principal, "has no views")
    scope = Scope.RUNS_WRITE if shared else Scope.RUNS_READ
    project = await locate.project(app, principal, scope, ref)
    return project.id, SHARED if shared else principal.identity
