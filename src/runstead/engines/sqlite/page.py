"""The SQL of a list of runs: filters chosen by the caller, the page continued by key."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs.run import TERMINAL
from runstead.core.usage.activity import RUN_SUMMARY_FIELDS, Share, share
from runstead.engines.sqlite.sql import COLUMNS
from runstead.ports.store import RunQuery

#: What tells where a run stands.
SUMMARY_COLUMNS: Final = ", ".join(RUN_SUMMARY_FIELDS)
#: These runs, each by its number.
_CHOSEN: Final = "(SELECT value AS chosen FROM json_each(?)) CROSS JOIN runs ON seq = chosen"


def page_sql(
    query: RunQuery, columns: str = COLUMNS, seqs: Sequence[int] | None = None
) -> tuple[str, list[Any]]:
    """Newest (or longest) first, with `seqs` of these alone. All values are bound; only our own names are put together."""
    if seqs is not None:
        sql, arguments = _look(query, columns, _CHOSEN)
        looks = [(sql, [msgspec.json.encode(seqs).decode(), *arguments])]
    elif _of_rare_states(query):
        # One look for each state, which SQLite merges as it goes: it would else read all runs for the order's sake.
        looks = [_look(replace(query, statuses=(status,)), columns) for status in query.statuses]
    else:
        looks = [_look(query, columns)]
    sql = " UNION ALL ".join(look for look, _ in looks)
    order = "duration_ms DESC, seq DESC" if query.sort == "duration" else "seq DESC"
    arguments = [one for _, given in looks for one in given]
    return f"{sql} ORDER BY {order} LIMIT ?", [*arguments, query.limit]


def shares(connection: sqlite3.Connection, query: RunQuery, origin: int, width: int) -> list[Share]:
    """See `runstead.ports.store.Runs.shares`."""
    found = connection.execute(*shares_sql(query, origin, width))
    return [share(origin + place * width, *told) for place, *told in found]


def shares_sql(query: RunQuery, origin: int, width: int) -> tuple[str, list[Any]]:
    sql, arguments = page_sql(replace(query, limit=limits.integer_max), SUMMARY_COLUMNS)
    counted = (
        "SELECT (created_at - ?) / ?, status, iif(status = 'completed', duration_ms, NULL), count(*)"  # noqa: S608 - the filter is generated
        f" FROM ({sql}) GROUP BY 1, 2, 3"
    )
    return counted, [origin, width, *arguments]


def _of_rare_states(query: RunQuery) -> bool:
    """Whether the index on states other than `completed` holds all of the list, and more than one state of it."""
    others = query.batch_id, query.schedule_id, query.parent_run_id
    return (
        query.sort == "created_at"
        and len(set(query.statuses)) == len(query.statuses) > 1
        and "completed" not in query.statuses
        and len(query.project_ids) == 1
        and others == (None, None, None)
    )


def _look(query: RunQuery, columns: str, table: str = "runs") -> tuple[str, list[Any]]:
    where: list[str] = []
    arguments: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        where.append(condition)
        arguments.extend(values)

    def among(column: str, values: tuple[str, ...]) -> None:
        if values:
            add(f"{column} IN ({', '.join('?' for _ in values)})", *values)

    among("project_id", query.project_ids or ("",))
    among("status", query.statuses)
    if query.statuses and "completed" not in query.statuses:
        add("status <> 'completed'")  # says what the index on the other states says, so that it serves
    among("kind", query.kinds)
    among("target", query.targets)
    for condition, value in (
        ("batch_id = ?", query.batch_id),
        ("schedule_id = ?", query.schedule_id),
        ("parent_run_id = ?", query.parent_run_id),
        ("created_at > ?", query.created_after),
        ("created_at < ?", query.created_before),
        ("seq > ?", query.seq_over),
        ("seq < ?", query.seq_under),
    ):
        if value is not None:
            add(condition, value)
    if query.schedule_id is not None and query.statuses and TERMINAL.isdisjoint(query.statuses):
        where.append("status IN ('pending', 'running', 'waiting')")  # what the index of these says
    if query.root_only:
        add("parent_seq IS NULL")
    for key, value in query.labels:
        add("EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)", key, value)
    if query.text is not None:
        escaped = query.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = f"%{escaped}%"
        add(
            "(run_id LIKE ? ESCAPE '\\' OR title LIKE ? ESCAPE '\\' OR target LIKE ? ESCAPE '\\')",
            *[pattern] * 3,
        )
    if query.sort == "duration":
        add("duration_ms IS NOT NULL")
        if query.before is not None:
            add("(duration_ms, seq) < (?, ?)", *query.before)
    elif query.before is not None:
        add("seq < ?", query.before[1])
    return f"SELECT {columns} FROM {table} WHERE {' AND '.join(where)}", arguments  # noqa: S608 - the filter is generated
