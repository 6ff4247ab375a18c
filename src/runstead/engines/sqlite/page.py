"""The SQL of a list of runs: the filters of the query, with keyset pagination."""

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs.run import TERMINAL
from runstead.core.usage.activity import RUN_SUMMARY_FIELDS, Share, share
from runstead.engines.sql.run_rows import run_columns
from runstead.engines.sql.run_terms import json_form, like_pattern
from runstead.engines.sqlite.sql import SEARCHED
from runstead.ports.store import RunQuery

_SUMMARY: Final = ", ".join(RUN_SUMMARY_FIELDS)
#: Runs by their seqs.
_CHOSEN: Final = "(SELECT value AS chosen FROM json_each(?)) CROSS JOIN runs ON seq = chosen"


def page_sql(query: RunQuery, seqs: Sequence[int] | None = None) -> tuple[str, list[Any]]:
    """Summaries, newest (or longest) first; only of the runs in `seqs` if given. All values are bound parameters."""
    if seqs is not None:
        sql, arguments = _select(query, _CHOSEN)
        selects = [(sql, [msgspec.json.encode(seqs).decode(), *arguments])]
    elif _has_rare_statuses(query):
        # One SELECT per status, which SQLite merges. With IN it would read all runs to keep the order.
        selects = [_select(replace(query, statuses=(status,))) for status in query.statuses]
    else:
        selects = [_select(query)]
    sql = " UNION ALL ".join(sql for sql, _ in selects)
    order = "duration_ms DESC, seq DESC" if query.sort == "duration" else "seq DESC"
    arguments = [one for _, values in selects for one in values]
    return f"{sql} ORDER BY {order} LIMIT ?", [*arguments, query.limit]


@cache
def chosen_sql(omit: frozenset[str]) -> str:
    """Runs by their seqs, in that order, without the fields in `omit`."""
    return f"SELECT {run_columns(omit)} FROM {_CHOSEN}"  # noqa: S608 - our own names


def shares(connection: sqlite3.Connection, query: RunQuery, origin: int, width: int) -> list[Share]:
    """See `runstead.ports.store.Runs.shares`."""
    found = connection.execute(*shares_sql(query, origin, width))
    return [share(origin + place * width, *counts) for place, *counts in found]


def shares_sql(query: RunQuery, origin: int, width: int) -> tuple[str, list[Any]]:
    sql, arguments = page_sql(replace(query, limit=limits.integer_max))
    counted = (
        "SELECT (created_at - ?) / ?, status, iif(status = 'completed', duration_ms, NULL), count(*)"  # noqa: S608 - the filter is generated
        f" FROM ({sql}) GROUP BY 1, 2, 3"
    )
    return counted, [origin, width, *arguments]


def _has_rare_statuses(query: RunQuery) -> bool:
    """Whether the index on statuses other than `completed` serves the query, which names several of them."""
    others = query.batch_id, query.schedule_id, query.parent_run_id
    return (
        query.sort == "created_at"
        and len(set(query.statuses)) == len(query.statuses) > 1
        and "completed" not in query.statuses
        and len(query.project_ids) == 1
        and others == (None, None, None)
    )


def _select(query: RunQuery, table: str = "runs") -> tuple[str, list[Any]]:
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
        add("status <> 'completed'")  # the condition of the partial index
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
        where.append("status IN ('pending', 'running', 'waiting')")  # the condition of the partial index
    if query.root_only:
        add("parent_seq IS NULL")
    for key, value in query.labels:
        add("EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)", key, value)
    if query.text is not None:
        plain, in_json = like_pattern(query.text), like_pattern(json_form(query.text))
        add(
            "(run_id LIKE ? ESCAPE '\\' OR title LIKE ? ESCAPE '\\' OR target LIKE ? ESCAPE '\\'"
            f" OR CAST(labels AS TEXT) LIKE ? ESCAPE '\\' OR {SEARCHED} LIKE ? ESCAPE '\\')",
            *[plain] * 3,
            *[in_json] * 2,
        )
    if query.sort == "duration":
        add("duration_ms IS NOT NULL")
        if query.before is not None:
            add("(duration_ms, seq) < (?, ?)", *query.before)
    elif query.before is not None:
        add("seq < ?", query.before[1])
    return f"SELECT {_SUMMARY} FROM {table} WHERE {' AND '.join(where)}", arguments  # noqa: S608 - the filter is generated
