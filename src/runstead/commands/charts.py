"""What the charts show: runs over time."""

from msgspec.structs import replace

from runstead import limits
from runstead.activity import Activity, summed_up
from runstead.commands import stretches
from runstead.commands.app import App
from runstead.errors import Error
from runstead.principal import Principal
from runstead.store import RunQuery


async def activity(
    app: App,
    principal: Principal,
    project: str | None,
    filters: RunQuery,
    since: int,
    until: int,
    buckets: int,
) -> Activity:
    """Of the runs of one project, or of every project that the caller may read, those that the filters let through and
    that were created in [since, until) (ms): the newest `limits.glimpses_max` of them. The filters' projects, sort,
    place, limit and times do not count. INVALID_REQUEST, FORBIDDEN, NOT_FOUND.
    """
    check_span(since, until)
    if not 1 <= buckets <= limits.chart_buckets_max:
        raise Error("INVALID_REQUEST", f"A chart has 1 to {limits.chart_buckets_max} buckets, not {buckets}")
    query = replace(
        filters,
        created_after=since - 1,
        created_before=until,
        sort="created_at",
        before=None,
        limit=limits.glimpses_max + 1,
    )
    found = await app.store.runs.glimpses(await stretches.narrowed(app, principal, project, query))
    truncated = len(found) > limits.glimpses_max
    return summed_up(
        found[: limits.glimpses_max], since=since, until=until, count=buckets, truncated=truncated
    )


def check_span(since: int, until: int) -> None:
    """Refuse a stretch of time that is none."""
    if not 0 <= since < until <= limits.timestamp_ms_max:
        raise Error(
            "INVALID_REQUEST",
            "`since` must lie before `until`, both between 1970 and the year 9999",
            errors=(("$.since", "not before `until`"),),
        )
