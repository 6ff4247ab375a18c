"""The SQL of a list of runs: the filters of the query, with keyset pagination."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs.run import FIELDS, OMITTABLE, TERMINAL, Run
from runstead.core.usage.activity import RUN_SUMMARY_FIELDS, Share, share
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.rows import to_run
from runstead.engines.postgres.sql import COUNTED_COLUMNS, RUNS, SEARCHED
from runstead.engines.sql.run_rows import run_columns
from runstead.engines.sql.run_terms import json_form, like_pattern
from runstead.ports.store import ListPage, RunQuery, SeqPage

_encode = msgspec.json.Encoder().encode


SUMMARY_COLUMNS: Final = ", ".join(RUN_SUMMARY_FIELDS)
#: Runs by their seqs. OFFSET 0 keeps the planner, which sees no values, from an index on a filter.
_CHOSEN: Final = "(SELECT * FROM runs WHERE seq = ANY ($1::bigint[]) OFFSET 0) AS runs"

#: The few runs that are not in the run index yet.
_NEWEST: Final = "(SELECT * FROM runs WHERE seq > ${}::bigint ORDER BY seq OFFSET 0) AS runs"

#: Runs of one project with rare statuses. OFFSET 0 keeps the planner from the index on all runs.
_BY_STATUS: Final = "(SELECT * FROM runs WHERE project_id = $1 AND status = ANY ($2::text[]) AND status <> 'completed' OFFSET 0) AS runs"
_ACTIVE: Final = "status IN ('pending', 'running', 'waiting')"


def page_sql(
    query: RunQuery, columns: str = SUMMARY_COLUMNS, table: str = "runs", seqs: Sequence[int] | None = None
) -> tuple[str, list[Any]]:
    """Newest (or longest) first; only the runs in `seqs` if given. All values are bound parameters."""
    where = _index_conditions(query.statuses) if seqs is None else []
    # Use the indexes on a project's runs; see the migration `runs_by_project`.
    one_project = (
        len(query.project_ids) == 1
        and query.batch_id is query.schedule_id is query.parent_run_id is None
        and seqs is None
    )
    arguments: list[Any] = [] if seqs is None else [list(seqs)]
    table = table if seqs is None else table.replace("runs", _CHOSEN, 1)

    def add(condition: str, *values: Any) -> None:
        """`{}` in the condition is replaced by the placeholder of each value."""
        arguments.extend(values)
        first = len(arguments) - len(values) + 1
        where.append(condition.format(*(f"${first + n}" for n in range(len(values)))))

    def among(column: str, values: tuple[str, ...]) -> None:
        if len(values) == 1:  # so the index also provides the order
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
    if query.schedule_id is not None and _are_active(query.statuses):
        where.append(_ACTIVE)  # the condition of the partial index
    if query.root_only:
        add("parent_seq IS NULL")
    if query.labels:
        add("convert_from(labels, 'UTF8')::jsonb @> {}::jsonb", _encode(dict(query.labels)).decode())
        if len(dict(query.labels)) < len(set(query.labels)):
            add("false")  # one label with two values matches no run
    for condition, value in (
        ("created_at > {}::bigint", query.created_after),
        ("created_at < {}::bigint", query.created_before),
        # In both forms, because the planner may choose the index of either order.
        ("seq > {0}::bigint AND -seq < -{0}::bigint" if one_project else "seq > {}::bigint", query.seq_over),
        ("seq < {0}::bigint AND -seq > -{0}::bigint" if one_project else "seq < {}::bigint", query.seq_under),
    ):
        if value is not None:
            add(condition, value)
    if query.text is not None:
        add(
            "(run_id ILIKE {0} OR title ILIKE {0} OR target ILIKE {0} OR convert_from(labels, 'UTF8') ILIKE {1}"
            f" OR {SEARCHED} ILIKE {{1}})",
            like_pattern(query.text),
            like_pattern(json_form(query.text)),
        )
    by_duration = query.sort == "duration"
    if by_duration:
        add("duration_ms IS NOT NULL")
    table = _table(table, query, arguments)
    place, order = _order(by_duration=by_duration, one_project=one_project)
    if query.before is not None:
        add(place, *query.before[0 if by_duration else 1 :])
    arguments.append(query.limit)
    sql = (
        f"SELECT {columns} FROM {table} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ${len(arguments)}"  # noqa: S608 - the filter is generated
    )
    return sql, arguments


def matching_sql(query: RunQuery, seqs: Sequence[int]) -> list[Any]:
    """The runs in `seqs` that match the query, with what it does not omit, as far as `bytes_max` reaches."""
    _, order = _order(by_duration=query.sort == "duration", one_project=False)
    return _bounded(*page_sql(query, _measured(query.omit, order), RUNS, seqs), query.bytes_max)


def chosen_sql(seqs: Sequence[int], page: SeqPage) -> list[Any]:
    """The runs in `seqs`, oldest first, with what the page does not omit, as far as its `bytes_max` reaches."""
    table = RUNS.replace("runs", _CHOSEN, 1)
    sql = f"SELECT {_measured(page.omit, 'seq')} FROM {table}"  # noqa: S608 - our own names
    return _bounded(sql, [list(seqs)], page.bytes_max)


@cache
def _measured(omit: frozenset[str], order: str) -> str:
    """The columns of a run with its place in the list, the size of the list up to it, and the number of all runs.

    PostgreSQL knows the size of a large value without reading it.
    """
    columns = run_columns(omit, **COUNTED_COLUMNS)
    size = " + ".join(f"coalesce(octet_length({field}), 0)" for field in sorted(OMITTABLE - omit)) or "0"
    return (
        f"{columns}, row_number() OVER (ORDER BY {order}) AS place,"
        f" sum({size}) OVER (ORDER BY {order}) AS bytes, count(*) OVER () AS found"
    )


def _bounded(sql: str, arguments: list[Any], bytes_max: int | None) -> list[Any]:
    """A statement and its arguments."""
    place = f"${len(arguments) + 1}::bigint"
    bounded = (
        f"SELECT {', '.join(FIELDS)}, found FROM ({sql}) AS measured"  # noqa: S608 - our own names
        f" WHERE place = 1 OR bytes <= {place} ORDER BY place"
    )
    return [bounded, *arguments, limits.integer_max if bytes_max is None else bytes_max]


def to_page(rows: Sequence[Any], *, more: bool) -> ListPage[Run]:
    """The page of these rows. `more`: whether more runs follow those that could have been read."""
    runs = [to_run(tuple(row)[:-1]) for row in rows]
    return ListPage(runs, more or (bool(rows) and rows[0][-1] > len(rows)))


def _table(table: str, query: RunQuery, arguments: list[Any]) -> str:
    """Read only the newest runs if the query asks for the longest of those."""
    if query.sort != "duration" or query.seq_over is None:
        return table
    arguments.append(query.seq_over)
    return table.replace("runs", _NEWEST.format(len(arguments)), 1)


async def shares(connection: Connection, query: RunQuery, origin: int, width: int) -> list[Share]:
    """See `runstead.ports.store.Runs.shares`."""
    sql, arguments = shares_sql(query, origin, width)
    return [share(origin + at * width, *counts) for at, *counts in await connection.fetch(sql, *arguments)]


def shares_sql(query: RunQuery, origin: int, width: int) -> tuple[str, list[Any]]:
    several = len(query.statuses) > 1 and _are_active(query.statuses)
    alone = query.batch_id is query.schedule_id is query.parent_run_id is None
    table = _BY_STATUS if several and alone and len(query.project_ids) == 1 else "runs"
    sql, arguments = page_sql(replace(query, limit=limits.integer_max), SUMMARY_COLUMNS, table)
    place = f"(created_at - ${len(arguments) + 1}::bigint) / ${len(arguments) + 2}::bigint"
    counted = (
        f"SELECT {place}, status, CASE WHEN status = 'completed' THEN duration_ms END, count(*)"  # noqa: S608 - the filter is generated
        f" FROM ({sql}) AS found GROUP BY 1, 2, 3"
    )
    return counted, [*arguments, origin, width]


def _are_active(statuses: Sequence[str]) -> bool:
    return bool(statuses) and TERMINAL.isdisjoint(statuses)


def _order(*, by_duration: bool, one_project: bool) -> tuple[str, str]:
    """The condition for rows after a position, and the order of the list."""
    if by_duration:
        return "(duration_ms, seq) < ({}::bigint, {}::bigint)", "duration_ms DESC, seq DESC"
    return ("-seq > -{}::bigint", "-seq") if one_project else ("seq < {}::bigint", "seq DESC")


def _index_conditions(statuses: Sequence[str]) -> list[str]:
    """Conditions of the partial indexes that may serve the query: the index on statuses other than `completed`, and
    the index on all runs of a project, which must not serve a query for one rare status.
    """
    others = ["status <> 'completed'"] if statuses and "completed" not in statuses else []
    return others if others and len(statuses) == 1 else [*others, "seq > 0"]
