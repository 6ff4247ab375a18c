"""The system page for administrators: servers, store, queues and loops."""

from typing import Any, Final, NamedTuple

from starlette.responses import Response

from runstead.commands import system as commands
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.ports import metrics
from runstead.web.framework.form import Fields, whole
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import PageRequest

pages = Pages()

_rate_span_ms_min: Final = 500  # a rate over a shorter span is not meaningful


class Rate(NamedTuple):
    """Commits and commands per second, since the page's last refresh or since the server's start."""

    commits: float
    commands: float
    span_ms: int


@pages.get("/system")
async def index(request: PageRequest) -> Response:
    try:
        system = await commands.get(*request.caller)
    except Error as refused:
        if refused.code != "FORBIDDEN":
            raise
        return await request.page("system/page.html", system=None)
    now = now_ms()
    values: dict[str, Any] = {
        "system": system,
        "now": now,
        "rate": _rate(system, request.query, now),
        "loops": metrics.loops(),
        "here": next((replica for replica in system.replicas if replica.id == system.replica), None),
    }
    if request.by_htmx:
        return request.part("system/now.html", **values)
    return await request.page("system/page.html", **values)


def _rate(system: commands.System, query: Fields, now: int) -> Rate | None:
    """The rate since the last refresh, whose counters the page sends back. None if the span is too short."""
    commits, done = system.facts["commits"], system.facts["commands"]
    since = next((replica.started_at for replica in system.replicas if replica.id == system.replica), now)
    before = [whole(query.one(name)) for name in ("at", "commits", "commands")]
    if query.one("replica") == system.replica and None not in before:
        at, earlier_commits, earlier_done = (value or 0 for value in before)
        if since <= at <= now - _rate_span_ms_min and earlier_commits <= commits and earlier_done <= done:
            since, commits, done = at, commits - earlier_commits, done - earlier_done
    span = now - since
    return Rate(commits * 1000 / span, done * 1000 / span, span) if span >= _rate_span_ms_min else None
