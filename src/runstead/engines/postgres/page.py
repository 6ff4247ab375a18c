"""The SQL of a list of runs: filters chosen by the caller, the page continued by key."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs.run import TERMINAL
from runstead.core.usage.activity import RUN_SUMMARY_FIELDS, Share, share
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import COLUMNS, RUNS
from runstead.ports.store import RunQuery

_encode = msgspec.json.Encoder().encode


#: What tells where a run stands.
SUMMARY_COLUMNS: Final = ", ".join(RUN_SUMMARY_FIELDS)
#: These runs, each by its number: the planner, which knows no values, shall not take the index of a filter.
_CHOSEN: Final = "(SELECT * FROM runs WHERE seq = ANY ($1::bigint[]) OFFSET 0) AS runs"

#: The few runs that are not indexed yet, by the index of their order.
_NEWEST: Final = "(SELECT * FROM runs WHERE seq > ${}::bigint ORDER BY seq OFFSET 0) AS runs"

#: Of one project, those of a few states: the order shall not choose the index of all its runs.
_OF_STATES: Final = "(SELECT * FROM runs WHERE project_id = $1 AND status = ANY ($2::text[]) AND status <> 'completed' OFFSET 0) AS runs"
_ALIVE: Final = "status IN ('pending', 'running', 'waiting')"


def page_sql(
    query: RunQuery, columns: str = COLUMNS, table: str = RUNS, seqs: Sequence[int] | None = None
) -> tuple[str, list[Any]]:
    """Newest (or longest) first, with `seqs` of these alone. All values are bound; only our own names are put together."""
    where = _of_the_index(query.statuses) if seqs is None else []
    # Of one project, what its own indexes are made of; see the migration `runs_by_project`.
    of_one = (
        len(query.project_ids) == 1
        and query.batch_id is query.schedule_id is query.parent_run_id is None
        and seqs is None
    )
    arguments: list[Any] = [] if seqs is None else [list(seqs)]
    table = table if seqs is None else table.replace("runs", _CHOSEN, 1)

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
    if query.schedule_id is not None and _are_alive(query.statuses):
        where.append(_ALIVE)  # what the index of these says
    if query.root_only:
        add("parent_seq IS NULL")
    if query.labels:
        add("convert_from(labels, 'UTF8')::jsonb @> {}::jsonb", _encode(dict(query.labels)).decode())
        if len(dict(query.labels)) < len(set(query.labels)):
            add("false")  # one label with two values at once: no run has that
    for condition, value in (
        ("created_at > {}::bigint", query.created_after),
        ("created_at < {}::bigint", query.created_before),
        # For both orders: the planner, which knows no values, may take the index of either.
        ("seq > {0}::bigint AND -seq < -{0}::bigint" if of_one else "seq > {}::bigint", query.seq_over),
        ("seq < {0}::bigint AND -seq > -{0}::bigint" if of_one else "seq < {}::bigint", query.seq_under),
    ):
        if value is not None:
            add(condition, value)
    if query.text is not None:
        escaped = query.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        add("(run_id ILIKE {0} OR title ILIKE {0} OR target ILIKE {0})", f"%{escaped}%")
    by_duration = query.sort == "duration"
    if by_duration:
        add("duration_ms IS NOT NULL")
    table = _table(table, query, arguments)
    place, order = _order(by_duration=by_duration, of_one=of_one)
    if query.before is not None:
        add(place, *query.before[0 if by_duration else 1 :])
    arguments.append(query.limit)
    sql = (
        f"SELECT {columns} FROM {table} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ${len(arguments)}"  # noqa: S608 - the filter is generated
    )
    return sql, arguments


def _table(table: str, query: RunQuery, arguments: list[Any]) -> str:
    """The longest of the newest runs are looked for among those alone."""
    if query.sort != "duration" or query.seq_over is None:
        return table
    arguments.append(query.seq_over)
    return table.replace("runs", _NEWEST.format(len(arguments)), 1)


async def shares(connection: Connection, query: RunQuery, origin: int, width: int) -> list[Share]:
    """See `runstead.ports.store.Runs.shares`."""
    sql, arguments = shares_sql(query, origin, width)
    return [share(origin + at * width, *told) for at, *told in await connection.fetch(sql, *arguments)]


def shares_sql(query: RunQuery, origin: int, width: int) -> tuple[str, list[Any]]:
    several = len(query.statuses) > 1 and _are_alive(query.statuses)
    alone = query.batch_id is query.schedule_id is query.parent_run_id is None
    table = _OF_STATES if several and alone and len(query.project_ids) == 1 else "runs"
    sql, arguments = page_sql(replace(query, limit=limits.integer_max), SUMMARY_COLUMNS, table)
    place = f"(created_at - ${len(arguments) + 1}::bigint) / ${len(arguments) + 2}::bigint"
    counted = (
        f"SELECT {place}, status, CASE WHEN status = 'completed' THEN duration_ms END, count(*)"  # noqa: S608 - the filter is generated
        f" FROM ({sql}) AS found GROUP BY 1, 2, 3"
    )
    return counted, [*arguments, origin, width]


def _are_alive(statuses: Sequence[str]) -> bool:
    return bool(statuses) and TERMINAL.isdisjoint(statuses)


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
