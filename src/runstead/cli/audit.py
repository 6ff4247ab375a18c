"""`runstead audit`: the audit log."""

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from runstead.cli.shared.command import listed
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected, resolve
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import AsJson, Database
from runstead.cli.shared.output import fail, run
from runstead.cli.shared.parsing import parse_time
from runstead.cli.shared.render import Column, time_column
from runstead.core.clock import to_ms

if TYPE_CHECKING:
    from runstead.core.audit import AuditEntry as StoredEntry
    from runstead.sdk.models.audit import AuditEntry

_PAGE_ROWS: Final = 100
_MEMBERS: Final = (
    *("id", "at", "actor", "credential_id", "address", "request_id"),
    *("action", "object", "change"),
)
Entry = dict[str, Any]


def audit(
    *,
    actor: Annotated[str | None, Parameter(help="Id of the actor")] = None,
    action: Annotated[str | None, Parameter(help="Such as run.cancel or key.create")] = None,
    of: Annotated[
        str | None, Parameter(name="--object", help="A kind, such as run, or a kind and an id: run:<id>")
    ] = None,
    after: Annotated[
        str | None, Parameter(help="Only later entries: a time, or 7d for the last 7 days")
    ] = None,
    before: Annotated[
        str | None, Parameter(help="Only earlier entries: a time, or 7d for 7 days ago")
    ] = None,
    limit: Annotated[int, Parameter(help="At most so many entries")] = 100,
    instance: Annotated[
        bool, Parameter(help="Entries that belong to no project, read from the database")
    ] = False,
    database: Database = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """List who changed what in a project, newest first. It needs the scope audit:read."""
    if limit < 1:
        fail("--limit must be 1 or more", USAGE)
    filters: dict[str, Any] = {
        "actor": actor,
        "action": action,
        "object": of,
        "after": parse_time("--after", after),
        "before": parse_time("--before", before),
    }
    if instance or database is not None:
        project = None if instance else resolve(server).project.value
        if project is None and not instance:
            fail("name a project with --project or RUNSTEAD_PROJECT", USAGE)
        found = _stored(database, project, limit, filters)
    else:
        with connected(server, project=True) as client:
            every = client.audit.iter(limit=min(limit, _PAGE_ROWS), **filters)
            found = [_members(entry) for entry in islice(every, limit)]
    columns: list[Column[Entry]] = [
        time_column("AT", lambda one: one["at"]),
        Column("ACTION", lambda one: one["action"], keep_whole=True),
        Column("ACTOR", lambda one: one["actor"]["name"] or one["actor"]["id"] or one["actor"]["kind"]),
        Column("OBJECT", lambda one: f"{one['object']['kind']} {one['object']['id']}".strip()),
        Column("ADDRESS", lambda one: one["address"] or "", drop_rank=1),
        Column("REQUEST", lambda one: one["request_id"] or "", drop_rank=2),
    ]
    listed(found, columns, "entries").show(json=json)


def _members(entry: "AuditEntry") -> Entry:
    found = msgspec.to_builtins(entry, builtin_types=(datetime,))
    return {name: found[name] for name in _MEMBERS}


def _stored(database: str | None, project: str | None, limit: int, filters: dict[str, Any]) -> list[Entry]:
    """Entries of a store, without a server."""
    from runstead.server import administration  # noqa: PLC0415

    kind, _, object_id = (filters["object"] or "").partition(":")
    reading = administration.audit(
        database,
        project,
        limit,
        actor=filters["actor"],
        action=filters["action"],
        object_kind=kind or None,
        object_id=object_id or None,
        created_after=None if filters["after"] is None else to_ms(filters["after"]),
        created_before=None if filters["before"] is None else to_ms(filters["before"]),
    )
    return [_stored_members(entry) for entry in run(reading)]


def _stored_members(entry: "StoredEntry") -> Entry:
    change = None if entry.change is None else msgspec.json.decode(entry.change)
    return {
        "id": entry.id,
        "at": datetime.fromtimestamp(entry.at / 1000, UTC),
        "actor": {"kind": entry.actor_kind, "id": entry.actor_id, "name": entry.actor_name},
        "credential_id": entry.credential_id,
        "address": entry.address,
        "request_id": entry.request_id,
        "action": entry.action,
        "object": {"kind": entry.object_kind, "id": entry.object_id},
        "change": change and {"before": {}, "after": {}} | change,
    }
