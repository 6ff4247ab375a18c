"""The servers and the store, as an administrator sees them."""

from typing import Any, Final, NamedTuple

from starlette.responses import Response

from runstead.commands import system as commands
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.ports import metrics
from runstead.web.framework.form import Fields
from runstead.web.framework.pages import Pages
from runstead.web.framework.request import Visit

pages = Pages()

_span_ms_min: Final = 500  # shorter ones give no rate worth telling


class Rate(NamedTuple):
    """What this server committed per second: since the page was told last, or else since the server started."""

    commits: float
    commands: float
    span_ms: int


@pages.get("/system")
async def index(visit: Visit) -> Response:
    try:
        system = await commands.get(visit.app, visit.principal)
    except Error as refused:
        if refused.code != "FORBIDDEN":
            raise
        return await visit.page("system/page.html", system=None)
    now = now_ms()
    values: dict[str, Any] = {
        "system": system,
        "now": now,
        "rate": _rate(system, visit.query, now),
        "loops": metrics.loops(),
        "here": next((one for one in system.replicas if one.id == system.replica), None),
    }
    if visit.by_htmx:
        return visit.part("system/now.html", **values)
    return await visit.page("system/page.html", **values)


def _rate(system: commands.System, told: Fields, now: int) -> Rate | None:
    """Between two looks at the same server, as the page brings the first one back; None where there is no span."""
    commits, done = system.facts["commits"], system.facts["commands"]
    since = next((one.started_at for one in system.replicas if one.id == system.replica), now)
    before = [_number(told.one(name)) for name in ("at", "commits", "commands")]
    if told.one("replica") == system.replica and None not in before:
        at, earlier_commits, earlier_done = (one or 0 for one in before)
        if since <= at <= now - _span_ms_min and earlier_commits <= commits and earlier_done <= done:
            since, commits, done = at, commits - earlier_commits, done - earlier_done
    span = now - since
    return Rate(commits * 1000 / span, done * 1000 / span, span) if span >= _span_ms_min else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
