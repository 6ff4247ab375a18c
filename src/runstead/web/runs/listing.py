"""The list of runs: its filters live in its address, and its first page follows what happens."""

from starlette.responses import RedirectResponse, Response

from runstead.commands import projects, runs as commands, seq_bounds
from runstead.core.errors import not_found
from runstead.core.runs.run import RunStatus
from runstead.http.run_pages import to_cursor
from runstead.web.framework import live
from runstead.web.framework.form import header
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit, to
from runstead.web.runs.filters import KINDS, SPANS, Filters, filters_of, rows_shown, trail_pages_max
from runstead.web.runs.rows import Rows, follow

pages = Pages()


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
    query = await seq_bounds.with_seq_bounds(visit.app, visit.principal, project.id, filters.query(cursor))
    found = await commands.page(visit.app, visit.principal, project.id, query)
    rows = Rows(visit, project)
    rows.show(found[:rows_shown])
    following = to_cursor(found[rows_shown - 1], filters.sort) if len(found) > rows_shown else ""
    trail = [one for one in visit.query.one("trail").split(".") if one]
    slug, follows = project.slug, follows_news(filters, cursor)
    return await visit.page(
        "runs/listing.html",
        project=project,
        rows=rows.html,
        filters=filters,
        fresh=not found and not filters.any and not cursor,
        server=visit.origin,
        older=_page(slug, filters, following, [*trail, cursor] if cursor else []) if following else "",
        newer=_page(slug, filters, trail[-1] if trail else "", trail[:-1]) if cursor else "",
        newest=filters.address(slug) if trail else "",
        live=filters.address(slug, "live", seen=str(rows.digest)) if follows else "",
        here_address=visit.address,
        statuses=list(RunStatus),
        kinds=KINDS,
        spans=SPANS,
    )


@pages.get("/projects/{project}/list/live")
async def told(visit: Visit) -> Response:
    """What changes in the newest rows of the list with these filters."""
    project = await visit.project()
    last = header(visit.headers, b"last-event-id") or visit.query.one("seen")
    return live.stream(visit.app, follow(visit, project, filters_of(visit.query), last))


def follows_news(filters: Filters, cursor: str) -> bool:
    """Whether new runs come to the top of this page."""
    return not cursor and filters.sort == "created_at"


def _page(slug: str, filters: Filters, cursor: str, trail: list[str]) -> str:
    """Another page of the list. `trail` are the pages between the first and that one: the list is read in one
    direction, so the way back is that by which the reader came.
    """
    return filters.address(slug, cursor=cursor, trail=".".join(trail[-trail_pages_max:]))
