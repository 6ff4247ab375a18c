"""The list of runs. Its address contains the filters; its first page is updated live."""

from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from runstead.commands import projects, runs as commands, saved_views, seq_bounds
from runstead.core.errors import not_found
from runstead.core.identity.project import Project
from runstead.core.runs.run import RunStatus
from runstead.http.run_pages import to_cursor
from runstead.web.framework import live
from runstead.web.framework.form import header
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest, to
from runstead.web.runs.filters import KINDS, SPANS, Filters, filters_of, trail_pages_max
from runstead.web.runs.rows import Rows, follow
from runstead.web.runs.start import choices

pages = Pages()


@pages.get("")
@pages.get("/")
async def home(request: PageRequest) -> Response:
    """Redirect to the first project."""
    found = await projects.visible(*request.caller)
    if not found:
        raise not_found("No project is visible to you: ask an admin for a key or a membership; project")
    return RedirectResponse(to("projects", found[0].slug, "runs"), 303)


@pages.show("/projects/{project}/runs")
async def index(request: PageRequest, project: Project) -> Response:
    if request.by_htmx:
        return await choices(request, project)
    filters, cursor = filters_of(request.query), request.query.one("cursor")
    query = await seq_bounds.with_seq_bounds(*request.caller, project.id, filters.query(cursor))
    found = await commands.page(*request.caller, project.id, query)
    rows = Rows(request, project)
    rows.show(found.rows)
    following = to_cursor(found.rows[-1], filters.sort) if found.more else ""
    trail = [one for one in request.query.one("trail").split(".") if one]
    slug, here = project.slug, urlsplit(filters.address(project.slug))
    return await request.page(
        "runs/listing.html",
        project=project,
        rows=rows.html,
        filters=filters,
        fresh=not found.rows and not filters.any and not cursor,
        server=request.origin,
        older=_page(slug, filters, following, [*trail, cursor] if cursor else []) if following else "",
        newer=_page(slug, filters, trail[-1] if trail else "", trail[:-1]) if cursor else "",
        newest=filters.address(slug) if trail else "",
        live=filters.address(slug, "live", seen=str(rows.digest)) if is_live(filters, cursor) else "",
        here_address=request.address,
        views=await saved_views.of(*request.caller, project.id),
        filters_address=here.path,
        filters_query=here.query,
        statuses=list(RunStatus),
        kinds=KINDS,
        spans=SPANS,
    )


@pages.show("/projects/{project}/list/live")
async def live_rows(request: PageRequest, project: Project) -> Response:
    """Stream the changes of the newest rows that match the filters."""
    last = header(request.headers, b"last-event-id") or request.query.one("seen")
    return live.stream(request, project, follow(request, project, filters_of(request.query), last))


def is_live(filters: Filters, cursor: str) -> bool:
    """Whether the page is the first one, newest first, and so is updated live."""
    return not cursor and filters.sort == "created_at"


def _page(slug: str, filters: Filters, cursor: str, trail: list[str]) -> str:
    """The address of another page of the list.

    Cursors lead forward only. `trail` holds the cursors of the pages before it, for the links back.
    """
    return filters.address(slug, cursor=cursor, trail=".".join(trail[-trail_pages_max:]))
