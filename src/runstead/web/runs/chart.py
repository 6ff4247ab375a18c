"""The chart above the list of runs: as JSON for the browser, and as a table."""

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
from runstead.web.framework.request import PageRequest
from runstead.web.runs.filters import SPANS, Filters, filters_of

pages = Pages()

#: The order in which the segments of a bar are stacked.
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
bars: Final = 60  # at most, of a time range that the user chose


def time_range(filters: Filters, now: int) -> tuple[int, int, int]:
    """Start, end and number of bars. INVALID_REQUEST.

    A range that moves with the clock starts at a whole bar, so that a run stays in its bar.
    """
    since, until = filters.times()
    length, width, _ = SPANS[filters.span]
    if since is None and until is None:
        until = (now // width + 1) * width
        return until - length, until, length // width
    until = max(now, since or 0) + 1 if until is None else until
    since = max(0, until - length) if since is None else since
    return since, until, min(bars, max(1, (until - since) // 1_000))


async def _activity(request: PageRequest, project: Project, filters: Filters) -> Activity:
    since, until, count = time_range(filters, now_ms())
    return await charts.activity(*request.caller, project.id, filters.query(), since, until, count)


@pages.get("/projects/{project}/list/chart.json")
async def data(request: PageRequest) -> Response:
    """The chart as columns, oldest bucket first. Times are ms."""
    filters = filters_of(request.query)
    found = await _activity(request, await request.project(), filters)
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
async def table(request: PageRequest) -> Response:
    project, filters = await request.project(), filters_of(request.query)
    found = await _activity(request, project, filters)
    return await request.page(
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
    """The chart in one or two sentences."""
    chosen = filters.since or filters.until
    period = "In this period" if chosen else f"In the last {SPANS[filters.span][2]}"
    total: Bucket = found.total
    if not total.runs:
        return f"{period} no run was created."
    parts = [
        f"{total.counts[RunStatus(status)]:,} {status}"
        for status in OUTCOMES
        if total.counts.get(RunStatus(status))
    ]
    sentence = (
        f"{period} {total.runs:,} run{'s were' if total.runs > 1 else ' was'} created: {', '.join(parts)}."
    )
    if found.counted_since is not None:
        since = iso(found.counted_since)[:19].replace("T", " ")
        sentence = (
            f"{period} more than {total.runs:,} matching runs were created. The chart counts only the newest {total.runs:,},"
            f" created since {since} UTC: {', '.join(parts)}."
        )
    if total.p50_ms is not None and total.p95_ms is not None:
        sentence += f" Of the completed runs, 50 % took at most {took(total.p50_ms)}, 95 % at most {took(total.p95_ms)}."
    return sentence
