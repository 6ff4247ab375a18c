"""The SQL of a list of runs: filters chosen by the caller, the page continued by key."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead import limits
from runstead.activity import GLIMPSE_FIELDS, Share, share
from runstead.postgres.connection import Connection
from runstead.postgres.sql import COLUMNS, RUNS
from runstead.store import RunQuery

_encode = msgspec.json.Encoder().encode


#: What tells where a run stands.
GLIMPSED: Final = ", ".join(GLIMPSE_FIELDS)


def page_sql(query: RunQuery, columns: str = COLUMNS, table: str = RUNS) -> tuple[str, list[Any]]:
    """Newest (or longest) first. All values are bound; only our own names are put together."""
    where = _of_the_index(query.statuses)
    # Of one project, what its own indexes are made of; see the migration `runs_by_project`.
    of_one = (
        len(query.project_ids) == 1 and query.batch_id is query.schedule_id is query.parent_run_id is None
    )
    arguments: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        """`{}` in the condition stands for each value in turn."""
        arguments.extend(values)
        first = len(arguments) - len(values) + 1
        where.append(condition.format(*(f"${first + n}" for n in range(len(values)))))

    def among(column: str, values: tuple[str, ...]) -> None:
        if len(values) == 1:  # so that the index also gives the order
            add(f"{column} = {{}}", values[0])
        elif values:
            add(f"{column} = ANY ({{}}::text[])", list(values))

    among("project_id", query.project_ids or ("",))
    among("status", query.statuses)
    among("kind", query.kinds)
    among("target", query.targets)
    for column in ("batch_id", "schedule_id", "parent_run_id"):
        if (value := getattr(query, column)) is not None:
            add(f"{column} = {{}}", value)
    if query.root_only:
        add("parent_seq IS NULL")
    if query.labels:
        add("convert_from(labels, 'UTF8')::jsonb @> {}::jsonb", _encode(dict(query.labels)).decode())
        if len(dict(query.labels)) < len(set(query.labels)):
            add("false")  # one label with two values at once: no run has that
    for condition, value in (
        ("created_at > {}::bigint", query.created_after),
        ("created_at < {}::bigint", query.created_before),
        ("-seq < -{}::bigint" if of_one else "seq > {}::bigint", query.seq_over),
        ("-seq > -{}::bigint" if of_one else "seq < {}::bigint", query.seq_under),
    ):
        if value is not None:
            add(condition, value)
    if query.text is not None:
        escaped = query.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        add("(run_id ILIKE {0} OR title ILIKE {0} OR target ILIKE {0})", f"%{escaped}%")
    by_duration = query.sort == "duration"
    if by_duration:
        add("duration_ms IS NOT NULL")
    place, order = _order(by_duration=by_duration, of_one=of_one)
    if query.before is not None:
        add(place, *query.before[0 if by_duration else 1 :])
    arguments.append(query.limit)
    sql = (
        f"SELECT {columns} FROM {table} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ${len(arguments)}"  # noqa: S608
    )
    return sql, arguments


async def shares(connection: Connection, query: RunQuery, origin: int, width: int) -> list[Share]:
    """See `runstead.store.Runs.shares`."""
    sql, arguments = page_sql(replace(query, limit=limits.integer_max), GLIMPSED, "runs")
    place = f"(created_at - ${len(arguments) + 1}::bigint) / ${len(arguments) + 2}::bigint"
    counted = (
        f"SELECT {place}, status, CASE WHEN status = 'completed' THEN duration_ms END, count(*)"  # noqa: S608
        f" FROM ({sql}) AS found GROUP BY 1, 2, 3"
    )
    rows = await connection.fetch(counted, *arguments, origin, width)
    return [share(origin + at * width, *told) for at, *told in rows]


def _order(*, by_duration: bool, of_one: bool) -> tuple[str, str]:
    """What follows a place in the list, and the list's order."""
    if by_duration:
        return "(duration_ms, seq) < ({}::bigint, {}::bigint)", "duration_ms DESC, seq DESC"
    return ("-seq > -{}::bigint", "-seq") if of_one else ("seq < {}::bigint", "seq DESC")


def _of_the_index(statuses: Sequence[str]) -> list[str]:
    """What the conditions of indexes say, so that they serve: that of the other states, and that of all runs of a
    project, which one of the other states shall not be looked for in.
    """
    others = ["status <> 'completed'"] if statuses and "completed" not in statuses else []
    return others if others and len(statuses) == 1 else [*others, "seq > 0"]
