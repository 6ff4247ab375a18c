"""The chart above the list of runs: as data for the browser, and as a table for whoever reads that instead."""

from typing import Any, Final

import msgspec
from starlette.responses import Response

from runstead.commands import charts
from runstead.core.clock import iso, now_ms
from runstead.core.identity.project import Project
from runstead.core.runs.run import RunStatus
from runstead.core.usage.activity import Activity, Bucket
from runstead.web.framework.pages import Pages
from runstead.web.framework.render import took
from runstead.web.framework.request import Visit
from runstead.web.runs.filters import SPANS, Filters, filters_of

pages = Pages()

#: In the order in which bars stand on one another.
OUTCOMES: Final = tuple(
    status.value
    for status in (
        RunStatus.COMPLETED,
        RunStatus.FAILED,
        RunStatus.CANCELLED,
        RunStatus.RUNNING,
        RunStatus.WAITING,
        RunStatus.PENDING,
    )
)
bars: Final = 60  # of a stretch of time that the reader chose


def stretch(filters: Filters, now: int) -> tuple[int, int, int]:
    """From, to, and how many bars. One that moves along with the clock begins at whole bars, so that a run does not move
    from bar to bar. INVALID_REQUEST.
    """
    since, until = filters.times()
    length, width, _ = SPANS[filters.span]
    if since is None and until is None:
        until = (now // width + 1) * width
        return until - length, until, length // width
    until = max(now, since or 0) + 1 if until is None else until
    since = max(0, until - length) if since is None else since
    return since, until, min(bars, max(1, (until - since) // 1_000))


async def _activity(visit: Visit, project: Project, filters: Filters) -> Activity:
    since, until, count = stretch(filters, now_ms())
    return await charts.activity(visit.app, visit.principal, project.id, filters.query(), since, until, count)


@pages.get("/projects/{project}/list/chart.json")
async def data(visit: Visit) -> Response:
    """Columns, oldest bucket first. Times are ms."""
    filters = filters_of(visit.query)
    found = await _activity(visit, await visit.project(), filters)
    return Response(msgspec.json.encode(_columns(found, filters)), media_type="application/json")


def _columns(found: Activity, filters: Filters) -> dict[str, Any]:
    return {
        "since": found.since,
        "until": found.until,
        "width_ms": found.width_ms,
        "begins_at": [one.begins_at for one in found.buckets],
        "counts": {
            status: [one.counts.get(RunStatus(status), 0) for one in found.buckets] for status in OUTCOMES
        },
        "p50_ms": [one.p50_ms for one in found.buckets],
        "p95_ms": [one.p95_ms for one in found.buckets],
        "summary": summary(found, filters),
    }


@pages.get("/projects/{project}/list/chart")
async def table(visit: Visit) -> Response:
    project, filters = await visit.project(), filters_of(visit.query)
    found = await _activity(visit, project, filters)
    return await visit.page(
        "runs/chart_table.html",
        project=project,
        filters=filters,
        buckets=[one for one in reversed(found.buckets) if one.runs],
        width_ms=found.width_ms,
        iso=iso,
        outcomes=OUTCOMES,
        summary=summary(found, filters),
    )


def summary(found: Activity, filters: Filters) -> str:
    """The chart in a sentence or two."""
    chosen = filters.since or filters.until
    where = "In this time" if chosen else f"In the last {SPANS[filters.span][2]}"
    total: Bucket = found.total
    if not total.runs:
        return f"{where} no run was created."
    parts = [
        f"{total.counts[RunStatus(status)]:,} {status}"
        for status in OUTCOMES
        if total.counts.get(RunStatus(status))
    ]
    told = f"{where} {total.runs:,} run{'s were' if total.runs > 1 else ' was'} created: {', '.join(parts)}."
    if found.counted_since is not None:
        since = iso(found.counted_since)[:19].replace("T", " ")
        told = (
            f"{where} more than {total.runs:,} matching runs were created. The chart counts only the newest {total.runs:,},"
            f" created since {since} UTC: {', '.join(parts)}."
        )
    if total.p50_ms is not None and total.p95_ms is not None:
        told += (
            f" Half of the completed took at most {took(total.p50_ms)}, 95 % at most {took(total.p95_ms)}."
        )
    return told
