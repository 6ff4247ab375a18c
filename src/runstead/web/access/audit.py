"""The audit log of a project: a list with filters, and its download as CSV."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from typing import Final

import msgspec
from msgspec.structs import replace
from starlette.responses import Response, StreamingResponse

from runstead.commands import audit as commands
from runstead.core import limits
from runstead.core.audit import ACTIONS, AuditEntry
from runstead.core.clock import iso
from runstead.core.errors import Error
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import Project
from runstead.http.audit import AuditFilter, audit_query, next_cursor
from runstead.web.framework.csv_cells import safe
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to

pages = Pages()

rows_shown: Final = 50
NAMES: Final = ("actor", "action", "object", "after", "before")
FIELD_ERRORS: Final = {
    "actor": f"The actor's id is longer than {limits.name_chars_max} characters, or holds control characters",
    "action": "There is no such action: choose one of the list",
    "object": f"The object is longer than {limits.name_chars_max} characters, or holds control characters",
    "after": "From is not a time: write it as 2026-03-20T12:00, in UTC",
    "before": "To is not a time: write it as 2026-03-20T12:00, in UTC",
    "cursor": "The cursor is not valid: open the list again",
}
COLUMNS: Final = (
    "id",
    "at",
    "actor_kind",
    "actor_id",
    "actor_name",
    "credential_id",
    "address",
    "request_id",
    "action",
    "object_kind",
    "object_id",
    "change",
)


@pages.show("/projects/{project}/audit")
async def index(request: PageRequest, project: Project) -> Response:
    if not request.may(Scope.AUDIT_READ, project):
        return await request.page("access/audit.html", project=project, may_read=False, status=403)
    values, refused = _values(request), None
    found: list[AuditEntry] = []
    try:
        query = audit_query(_filters(values, request.query.one("cursor")))
        found = await commands.page(*request.caller, project.id, query)
    except Error as error:
        if error.code != "INVALID_REQUEST":
            raise
        refused = error
    following = next_cursor(found, rows_shown)
    return await request.form_page(
        "access/audit.html",
        refused,
        project=project,
        may_read=True,
        rows=found[:rows_shown],
        actions=ACTIONS,
        values=values,
        link_of=lambda entry: link_of(project, entry),
        following=following and _address(project, values, cursor=following),
        csv=_address(project, values, part="audit.csv"),
    )


@pages.show("/projects/{project}/audit.csv", scope=Scope.AUDIT_READ)
async def download(request: PageRequest, project: Project) -> Response:
    """All entries that match the filters, as CSV (RFC 4180)."""
    query = replace(audit_query(_filters(_values(request))), limit=limits.audit_csv_page_rows)
    first = await commands.page(*request.caller, project.id, query)

    async def text() -> AsyncIterator[bytes]:
        yield csv_rows([COLUMNS])
        page = first
        while page:
            yield csv_rows(map(_cells, page))
            if len(page) < query.limit:
                return
            following = replace(query, before=(page[-1].at, page[-1].seq))
            page = await commands.page(*request.caller, project.id, following)

    headers = {"Content-Disposition": f'attachment; filename="audit-{project.slug}.csv"'}
    return StreamingResponse(text(), headers=headers, media_type="text/csv; charset=utf-8; header=present")


def csv_rows(rows: Iterable[Iterable[str | None]]) -> bytes:
    """Rows of CSV, without cells that a spreadsheet would execute."""
    sheet = io.StringIO(newline="")
    csv.writer(sheet, lineterminator="\r\n").writerows(map(safe, row) for row in rows)
    return sheet.getvalue().encode()


def _cells(entry: AuditEntry) -> list[str | None]:
    cells = {name: getattr(entry, name) for name in COLUMNS}
    return [*(cells | {"at": iso(entry.at), "change": (entry.change or b"").decode()}).values()]


def link_of(project: Project, entry: AuditEntry) -> str | None:
    """The page of the entry's object, if it has one."""
    match entry.object_kind:
        case "run" | "batch" | "schedule" | "webhook" | "alert" as kind:
            return to("projects", project.slug, {"batch": "batches"}.get(kind, f"{kind}s"), entry.object_id)
        case _:
            return None


def _values(request: PageRequest) -> dict[str, str]:
    return {name: request.query.one(name) for name in NAMES}


def _filters(values: dict[str, str], cursor: str = "") -> AuditFilter:
    """The filters of the fields. INVALID_REQUEST."""
    given = {name: value for name, value in (values | {"cursor": cursor}).items() if value}
    for name in ("after", "before"):  # as the field has it, without a time zone: UTC
        if name in given and not given[name].endswith("Z"):
            given[name] = f"{given[name]}:00Z" if given[name].count(":") == 1 else f"{given[name]}Z"
    try:
        return msgspec.convert(given | {"limit": rows_shown}, AuditFilter, strict=False)
    except msgspec.ValidationError as error:
        message = next((text for name, text in FIELD_ERRORS.items() if f"$.{name}" in str(error)), str(error))
        raise Error("INVALID_REQUEST", message) from None


def _address(project: Project, values: dict[str, str], *, part: str = "audit", cursor: str = "") -> str:
    return to("projects", project.slug, part, **values, cursor=cursor)
