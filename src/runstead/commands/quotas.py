"""Quotas of projects: the operator sets them, the project reads them."""

from typing import NamedTuple

import msgspec

from runstead.commands import locate
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.audit import by
from runstead.core.errors import existing
from runstead.core.identity.principal import Principal, Scope, refuse_bound, require_system
from runstead.core.identity.quota import BOUNDS, Quota


class QuotaUse(NamedTuple):
    """A quota in force, the project's own value, and what is used of it. None: none, or it is not counted."""

    name: str
    limit: int | None
    own: int | None
    used: int | None


async def get(app: App, principal: Principal, ref: str) -> list[QuotaUse]:
    """Return the project's quotas and their use. Raises NOT_FOUND, FORBIDDEN."""
    refuse_bound(principal, "cannot read quotas")
    if principal.system:
        found = await app.store.identity.project(ref)
        if found is not None:
            return await _uses(app, found.id)
    project = await locate.project(app, principal, Scope.RUNS_READ, ref)
    return await _uses(app, project.id)


async def put(app: App, principal: Principal, ref: str, values: dict[str, int | None]) -> list[QuotaUse]:
    """Set the project's quotas, each within `BOUNDS`. The instance's default applies to names that are None.

    Raises NOT_FOUND; FORBIDDEN without the scope system.
    """
    require_system(principal)
    project = existing(await app.store.identity.project(ref), "Project")
    quota = msgspec.convert({"project_id": project.id, **values}, Quota)
    recording = app.store.recording(by(principal, "quota.put", project.id))
    app.quotas.keep(await recording.quotas.put(quota))
    return await _uses(app, project.id)


async def _uses(app: App, project_id: str) -> list[QuotaUse]:
    limit, own = app.quotas.of(project_id), app.quotas.own(project_id)
    keys, members = await app.store.quotas.keys_and_members(project_id)
    pending = await app.store.quotas.runs_pending(project_id, limits.quota_count_max)
    used = {"runs_pending": pending, "keys": keys, "members": members}
    used["artifact_bytes"] = await app.store.quotas.artifact_bytes(project_id)
    used["streams"] = app.open_streams.of_project(project_id)
    return [
        QuotaUse(name, limit=getattr(limit, name), own=getattr(own, name), used=used.get(name))
        for name in BOUNDS
    ]
