"""The SQL statements: named ones from the .sql files, and those built for the columns that are written."""

import re
from collections.abc import Sequence
from functools import cache
from types import NoneType
from typing import Final, get_args, get_type_hints

from runstead.core import limits
from runstead.core.batches.batch import BATCH_FIELDS, COUNTED
from runstead.core.runs.run import FIELDS, LARGE, Run
from runstead.engines.sql.columns import RECORDS, WORDS
from runstead.engines.sql.dialect import Dialect, statements
from runstead.engines.sql.run_rows import ROW_WORDS, run_columns
from runstead.engines.sql.run_terms import FACTS

CLOCK: Final = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
COUNTERS: Final = ("descendants_total", "descendants_active")
STORED: Final = tuple(field for field in FIELDS if field not in COUNTERS)
"""The fields that are columns of `runs`."""

COUNTED_COLUMNS: Final = {field: f"coalesce({field}, 0)" for field in COUNTERS}
COLUMNS: Final = run_columns(**COUNTED_COLUMNS)
LOCKED: Final = f"{COLUMNS}, familied"
"""The columns that a statement reads of a locked run."""
#: Columns of an integrity check: no large values, and an error only if it is short (else empty).
_CHECKED: Final = run_columns(
    LARGE,
    **COUNTED_COLUMNS,
    error="CASE WHEN octet_length(error) <= 65536 THEN error WHEN error IS NOT NULL THEN ''::bytea END",
)
# LIMIT keeps it a look-up per run: a join could be planned as a scan of all families.
#: What a search reads of a run's error, and in projects with `search_values` of its input and output. NULL: nothing.
_VALUE_CHARS: Final = limits.search_value_chars_max
SEARCHED: Final = (
    f"nullif(coalesce(chr(10) || left(convert_from(error, 'UTF8'), {limits.search_error_chars_max}), '')"  # noqa: S608 - our own numbers
    " || CASE WHEN EXISTS (SELECT 1 FROM projects AS p WHERE p.id = runs.project_id"
    " AND p.search_values_since < runs.created_at)"
    f" THEN coalesce(chr(10) || left(convert_from(input, 'UTF8'), {_VALUE_CHARS}), '')"
    f" || coalesce(chr(10) || left(convert_from(output, 'UTF8'), {_VALUE_CHARS}), '') ELSE '' END, '')"
)
RUNS: Final = (
    "runs LEFT JOIN LATERAL (SELECT descendants_total, descendants_active FROM run_families"
    " WHERE run_seq = runs.seq LIMIT 1) AS family ON true"
)

# Columns that nearly every transition changes, so every update writes them. Other columns, above all the large ones, are
# written only if they changed.
MOVING: Final = frozenset(
    {
        "status",
        "updated_at",
        "started_at",
        "completed_at",
        "duration_ms",
        "available_at",
        "due_at",
        "attempt",
        "attempts_lost",
        "attempt_started_at",
        "lease_owner",
        "lease_token",
        "lease_ms",
        "lease_expires_at",
        "last_heartbeat_at",
        "latest_event_id",
        "latest_external_event_sequence",
        "event_bytes",
        "version",
    }
)

#: Columns that an append of events changes. They are in no index, so such an update writes no index.
APPENDED: Final = (
    "updated_at",
    "latest_event_id",
    "latest_external_event_sequence",
    "event_bytes",
    "version",
)

#: Other columns that a completion or a report of progress sets: NULL keeps the stored value.
BROUGHT: Final = ("progress", "exit_code", "error", "metadata", "artifacts", "output", "logs")

_REACH: Final = (
    "array_to_string(ARRAY(SELECT project_id FROM push_reach WHERE service_id = ANY (ARRAY[push_services.id])"
    " ORDER BY service_id, project_id), ' ')"
)

# A batch's columns, and its counters summed over their rows.
BATCH: Final = ", ".join(
    f"{'c' if name in (*COUNTED, 'started_at') else 'b'}.{name}" for name in BATCH_FIELDS
)
_SUMS: Final = ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in COUNTED)
BATCHES: Final = (
    f"batches AS b CROSS JOIN LATERAL (SELECT min(started_at) AS started_at, {_SUMS}"  # noqa: S608 - our own names
    " FROM batch_counts WHERE batch_id = b.id) AS c"
)


#: The statements that both engines share.
DIALECT: Final = Dialect(
    "postgres",
    RECORDS,
    {
        "clock": CLOCK,
        "reach": _REACH,
        "batch": BATCH,
        "batches": BATCHES,
        "runs": RUNS,
        "counted_active": "(SELECT coalesce(sum(c.pending + c.running + c.waiting), 0)::bigint FROM batch_counts AS c"
        " WHERE c.batch_id = b.id)",
    },
)
#: The statements of this engine: name → text.
Q: Final = statements(
    __package__,
    WORDS
    | {"indexed": ", ".join(SEARCHED if field == "searched" else field for field in FACTS)}
    | ROW_WORDS
    | {
        "columns": COLUMNS,
        "locked": LOCKED,
        "runs": RUNS,
        "clock": CLOCK,
        "checked_columns": _CHECKED,
        "counted": ", ".join(COUNTED),
    },
    DIALECT,
)


_COLUMN_TYPES: Final[dict[object, str]] = {int: "bigint", bytes: "bytea", bool: "boolean"}


def _column_type(annotation: object) -> str:
    kinds = set(get_args(annotation) or (annotation,))
    return next((name for python_type, name in _COLUMN_TYPES.items() if python_type in kinds), "text")


_TYPES: Final = {field: _column_type(annotation) for field, annotation in get_type_hints(Run).items()}

_REQUIRED: Final = {
    name for name, annotation in get_type_hints(Run).items() if NoneType not in get_args(annotation)
}
_USUAL: Final = {
    *(
        "root_seq",
        "available_at",
        "due_at",
        "target",
        "title",
        "created_by",
        "timeout_seconds",
        "backoff_limit",
    ),
    *("trigger_kind", "labels", "config", "input"),
}
CREATED: Final = tuple(field for field in STORED if field in _REQUIRED | _USUAL)
"""Columns that most runs are created with. The others are left out if they are NULL in all new runs."""

LISTENING = 61  # held by each session that listens for notifications
ROLLUPS = 54


def _arrays(columns: Sequence[str], first: int = 1) -> str:
    """The arrays of these columns as arguments. Numbers are sent as the text of an array, see `numbers`."""
    kinds = ["text::bigint" if _TYPES[field] == "bigint" else _TYPES[field] for field in columns]
    return ", ".join(f"${place}::{kind}[]" for place, kind in enumerate(kinds, first))


@cache
def numbers(statement: str) -> frozenset[int]:
    """The indexes of the arguments of a statement that are arrays of numbers, sent as text: `$1::text::bigint[]`.

    For each item of a list, asyncpg asks twice whether it is a list itself, which takes longer than to write it as text.
    """
    return frozenset(int(place) - 1 for place in re.findall(r"\$(\d+)::text::\w+\[\]", statement))


@cache
def insert_runs(columns: tuple[str, ...]) -> str:
    """Inserts these columns of many runs."""
    names = ", ".join(columns)
    return (
        f"INSERT INTO runs ({names}) SELECT * FROM unnest({_arrays(columns)})"  # noqa: S608 - our own names
        f' AS made ({names}) ORDER BY run_id COLLATE "C", project_id COLLATE "C"'
    )


@cache
def update_runs(columns: tuple[str, ...], kept: tuple[str, ...] = ()) -> str:
    """Sets these columns of many runs. The first arguments are their seqs and the versions that were read; other rows
    are not updated. The last ones are the `kept` columns, where NULL keeps the stored value.
    """
    sets = [f"{column} = new.{column}" for column in columns]
    sets += [f"{column} = coalesce(new.{column}, runs.{column})" for column in kept]
    names = (*columns, *kept)
    arrays = f"$1::text::bigint[], $2::text::bigint[], {_arrays(names, 3)}"
    return (
        f"UPDATE runs SET {', '.join(sets)} FROM unnest({arrays}) AS new (old_seq, old_version, {', '.join(names)})"  # noqa: S608
        " CROSS JOIN LATERAL (SELECT ctid, tableoid FROM runs AS old"
        " WHERE old.seq = new.old_seq AND old.version = new.old_version LIMIT 1) AS found"
        " WHERE runs.ctid = found.ctid AND runs.tableoid = found.tableoid"
    )


@cache
def of_one(statement: str) -> str:
    """Rewrites a statement on arrays for a single row of plain arguments. It saves sending and unnesting arrays: an
    insert of one run takes 51 µs instead of 101, an update 58 instead of 91.
    """
    values = re.sub(r"unnest\(([^()]*)\)", r"(VALUES (\1))", statement)
    values = re.sub(r"(::text)?(::\w+)\[\]", r"\2", values)
    return re.sub(r"(\(VALUES \([^()]*\)\))(?!\s+AS)", r"\1 AS given", values)


@cache
def together(statements: tuple[str, ...]) -> str:
    """Combines writes of different rows into one statement, with their arguments concatenated. It returns the number of
    rows that each has written. They execute in this order, the order in which their rows are counted.
    """
    parts: list[str] = []
    given = 0
    for number, statement in enumerate(statements):
        moved = re.sub(r"\$(\d+)", lambda place: f"${int(place[1]) + given}", statement)  # noqa: B023 - used at once
        parts.append(f"s{number} AS ({moved} RETURNING 1)")
        given += max(int(place) for place in re.findall(r"\$(\d+)", statement))
    counts = ", ".join(f"(SELECT count(*) FROM s{number})" for number in range(len(statements)))  # noqa: S608
    return f"WITH {', '.join(parts)} SELECT {counts}"
