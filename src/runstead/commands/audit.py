"""The audit log. Reading it needs the scope audit:read."""

from typing import Final

from msgspec.structs import replace

from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.audit import AuditEntry
from runstead.core.identity.principal import Scope
from runstead.core.runs.run import Run
from runstead.ports.store import AuditQuery

#: The actions whose actors a run's page names to all who may read the run.
_SHOWN: Final = frozenset({"run.resume", "run.cancel"})


@needs(Scope.AUDIT_READ, bound="cannot read the audit log")
async def page(access: Access, query: AuditQuery) -> list[AuditEntry]:
    """List the entries of a project that match the query, newest first. Raises NOT_FOUND, FORBIDDEN."""
    return await access.store.audit.page(replace(query, project_id=access.project_id))


async def decisions(app: App, run: Run) -> list[AuditEntry]:
    """List who resumed and cancelled a run that the caller may read, newest first, at most 100 entries.

    For members without the scope audit:read, so use only the actor, the time and the change.
    """
    query = AuditQuery(run.project_id, limits.page_rows_max, object_kind="run", object_id=run.run_id)
    return [entry for entry in await app.store.audit.page(query) if entry.action in _SHOWN]
