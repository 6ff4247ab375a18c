"""The list of runs: its filters live in its address."""

from datetime import UTC, datetime

import msgspec
from starlette.responses import RedirectResponse, Response

from runstead.clock import to_ms
from runstead.commands import projects, runs as commands
from runstead.errors import Error, not_found
from runstead.http.run_pages import from_cursor, to_cursor
from runstead.run import RunStatus
from runstead.store import RunQuery
from runstead.web.form import Fields
from runstead.web.pages import Pages
from runstead.web.visit import Visit, to

pages = Pages()

KINDS = ("agent", "workflow", "task", "eval")
rows_shown = 50


class Filters(msgspec.Struct, frozen=True):
    """What the address asks for, as it stands there, and as a query."""

    status: tuple[str, ...]
    kind: tuple[str, ...]
    target: str
    schedule: str
    batch: str
    q: str
    since: str
    until: str
    sort: str

    def query(self, cursor: str = "", limit: int = rows_shown + 1) -> RunQuery:
        """INVALID_REQUEST, where the cursor is no list's."""
        return RunQuery(
            (),
            self.status,
            self.kind,
            (self.target,) if self.target else (),
            self.batch or None,
            self.schedule or None,
            created_after=_moment(self.since, "From"),
            created_before=_moment(self.until, "To"),
            text=self.q or None,
            sort="duration" if self.sort == "duration" else "created_at",
            before=from_cursor(cursor, self.sort) if cursor else None,
            limit=limit,
        )

    def address(self, project: str, *more: str, **others: str) -> str:
        """The list (or what is below it, `more`) with these filters, and others in addition."""
        values = msgspec.structs.asdict(self) | others
        if values["sort"] == "created_at":
            del values["sort"]
        return to("projects", project, "runs", *more, **values)


def filters_of(fields: Fields) -> Filters:
    """What is not known is left out: an old address still shows a list."""
    return Filters(
        tuple(one for one in fields.all("status") if one in set(RunStatus)),
        tuple(one for one in fields.all("kind") if one in KINDS),
        fields.one("target"),
        fields.one("schedule"),
        fields.one("batch"),
        fields.one("q")[:200],
        fields.one("since"),
        fields.one("until"),
        "duration" if fields.one("sort") == "duration" else "created_at",
    )


def _moment(text: str, what: str) -> int | None:
    """ISO-8601; without a zone it is UTC."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Error("INVALID_REQUEST", f"{what} is no time: write it as 2026-03-20T12:00") from error
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


@pages.get("")
@pages.get("/")
async def home(visit: Visit) -> Response:
    """On to the first project."""
    found = await projects.visible(visit.app, visit.principal)
    if not found:
        raise not_found("Any project of yours: ask for a key or to be a member; a project")
    return RedirectResponse(to("projects", found[0].slug, "runs"), 303)


@pages.get("/projects/{project}/runs")
async def index(visit: Visit) -> Response:
    project = await visit.project()
    filters, cursor = filters_of(visit.query), visit.query.one("cursor")
    found = await commands.page(visit.app, visit.principal, project.id, filters.query(cursor))
    rows = found[:rows_shown]
    following = to_cursor(rows[-1], filters.sort) if len(found) > rows_shown else None
    return await visit.page(
        "runs.html",
        project=project,
        rows=rows,
        filters=filters,
        first=not cursor,
        following=filters.address(project.slug, cursor=following) if following else None,
        statuses=list(RunStatus),
        kinds=KINDS,
    )
