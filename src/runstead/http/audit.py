"""The audit log of a project: `/projects/{project}/audit`."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from runstead.commands import audit as commands
from runstead.core import limits
from runstead.core.audit import Action, AuditEntry
from runstead.http.answers import page_of
from runstead.http.arguments import from_body, scoped
from runstead.http.framework import values
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.list_page import fitted, paged
from runstead.http.framework.problems import LOOKUP
from runstead.http.framework.values import JsonObject, Moment, Name, PageLimit
from runstead.http.framework.views import Timestamp, view_of
from runstead.ports.store import AuditQuery, ListPage

routes = Routes("Administration")


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filters and page of the audit log. An entry matches all filters."""

    cursor: Annotated[str, Meta(pattern=values.AUDIT_CURSOR)] | None = None
    limit: PageLimit = limits.page_rows_default
    actor: Annotated[Name, Meta(description="The id of the actor.")] | None = None
    action: Action | None = None
    object: (
        Annotated[Name, Meta(description="A kind, such as `run`, or a kind and an id: `run:<id>`.")] | None
    ) = None
    after: Moment | None = None
    before: Moment | None = None


class AuditActor(msgspec.Struct, frozen=True):
    """Who acted. `kind` is that of the credential: `user`, `api_key`, `worker`, `service`, or `operator` for the
    command line of the server; `unknown` for a failed sign-in.
    """

    kind: str
    id: str
    name: str | None


class AuditObject(msgspec.Struct, frozen=True):
    """The changed object. The id of a member is the user id, of a limit the target (`*`: the whole project)."""

    kind: str
    id: str


class AuditChange(msgspec.Struct, frozen=True):
    """The members that differ, before and after. Values are shortened, and secrets are `(hidden)`."""

    before: JsonObject
    after: JsonObject


class AuditView(msgspec.Struct, frozen=True):
    id: str
    at: Timestamp
    actor: AuditActor
    credential_id: str | None
    address: str | None
    request_id: str | None
    action: str
    object: AuditObject
    change: AuditChange | None


AuditPage = page_of("AuditPage", AuditView)


_change = msgspec.json.Decoder(dict[str, dict[str, Any]])


def view(entry: AuditEntry) -> AuditView:
    return view_of(
        AuditView,
        entry,
        actor=AuditActor(entry.actor_kind, entry.actor_id, entry.actor_name),
        object=AuditObject(entry.object_kind, entry.object_id),
        change=None if entry.change is None else _change_of(entry.change),
    )


def _change_of(text: bytes) -> AuditChange:
    found = _change.decode(text)
    return AuditChange(before=found.get("before", {}), after=found.get("after", {}))


def audit_query(query: AuditFilter, project_id: str = "") -> AuditQuery:
    """Return the query of the store. It reads one row more than the page."""
    kind, _, object_id = (query.object or "").partition(":")
    before = None
    if query.cursor is not None:
        at, seq = map(int, query.cursor.split("-"))
        before = (at, seq)
    return from_body(
        AuditQuery,
        query,
        project_id=project_id,
        limit=query.limit + 1,
        object_kind=kind or None,
        object_id=object_id or None,
        created_after=values.moment_ms("after", query.after),
        created_before=values.moment_ms("before", query.before),
        before=before,
    )


def next_cursor(found: list[AuditEntry], limit: int) -> str | None:
    """Return the cursor after the first `limit` of these entries. None: there are no more."""
    return _cursor(found[limit - 1]) if len(found) > limit else None


def _cursor(entry: AuditEntry) -> str:
    return f"{entry.at}-{entry.seq}"


@routes.route("GET", "/projects/{project}/audit", query=AuditFilter, answer=AuditPage, errors=LOOKUP)
async def entries(call: Call[Nothing, AuditFilter]) -> Reply:
    """List the entries of a project's audit log, newest first."""
    query = call.query
    found = await commands.page(*scoped(call), audit_query(query))
    return Reply(200, paged(fitted(ListPage.of(found, query.limit), view), query.cursor, _cursor))
