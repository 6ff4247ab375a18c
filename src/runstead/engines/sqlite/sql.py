"""The SQL statements: named ones from the .sql files, and those built for the columns that are written."""

from functools import cache, lru_cache
from typing import Final

from runstead.core import limits
from runstead.core.batches.batch import BATCH_FIELDS
from runstead.core.runs.run import FIELDS, LARGE
from runstead.engines.sql.columns import RECORDS, WORDS
from runstead.engines.sql.dialect import Dialect, statements
from runstead.engines.sql.run_rows import EVENT_COLUMNS, ROW_WORDS, run_columns
from runstead.engines.sql.run_terms import FACTS

COLUMNS: Final = ", ".join(FIELDS)
EVENT_BITS: Final = 24
#: Columns of an integrity check: no large values, and an error only if it is short (else empty).
_CHECKED: Final = run_columns(LARGE, error="iif(length(error) <= 65536, error, substr(error, 1, 0))")
_REACH: Final = (
    "(SELECT coalesce(group_concat(project_id, ' '), '') FROM push_reach WHERE service_id = push_services.id)"
)
#: What a search reads of a run's error, and in projects with `search_values` of its input and output. NULL: nothing.
#: `searched_text` is a function of the connection: see `packing`.
_VALUE_CHARS: Final = limits.search_value_chars_max
SEARCHED: Final = (
    f"nullif(searched_text(error, {limits.search_error_chars_max})"  # noqa: S608 - our own numbers
    " || iif(EXISTS (SELECT 1 FROM projects AS p WHERE p.id = runs.project_id"
    " AND p.search_values_since < runs.created_at),"
    f" searched_text(input, {_VALUE_CHARS}) || searched_text(output, {_VALUE_CHARS}), ''), '')"
)
#: JSON cannot hold bytes.
_TEXTS: Final = {"labels": "CAST(labels AS TEXT)", "searched": SEARCHED}
_INDEXED_TEXT: Final = ", ".join(_TEXTS.get(field, field) for field in FACTS)
_STORED_EVENT: Final = ", ".join("id" if name == "event_id" else name for name in EVENT_COLUMNS)

#: The statements that both engines share.
DIALECT: Final = Dialect(
    "sqlite",
    RECORDS,
    {
        "clock": ":now",
        "reach": _REACH,
        "batch": ", ".join(f"b.{name}" for name in BATCH_FIELDS),
        "batches": "batches AS b",
        "runs": "runs",
        "counted_active": "b.pending + b.running + b.waiting",
    },
)
#: The statements of this engine: name → text.
Q: Final = statements(
    __package__,
    WORDS
    | ROW_WORDS
    | {
        "event": ", ".join(
            f"id & {(1 << EVENT_BITS) - 1} AS {name}" if name == "event_id" else name
            for name in EVENT_COLUMNS
        ),
        "columns": COLUMNS,
        "checked_columns": _CHECKED,
        "indexed_text": _INDEXED_TEXT,
    },
    DIALECT,
)


@lru_cache(512)
def insert_runs(places: tuple[int, ...], count: int = 1) -> str:
    """Sets the columns at these indexes of `FIELDS`; the others are NULL. Naming all columns is twice as slow."""
    columns = ", ".join(FIELDS[place] for place in places)
    row = f"({', '.join('?' * len(places))})"
    return f"INSERT INTO runs ({columns}) VALUES {', '.join([row] * count)}"  # noqa: S608 - our own names


@cache
def update_run(changed: tuple[str, ...]) -> str:
    """Sets these columns of the run with a seq and the version that was read."""
    columns = ", ".join(f"{name} = ?" for name in changed)
    return f"UPDATE runs SET {columns} WHERE seq = ? AND version = ?"  # noqa: S608 - our own names


@cache
def insert_events(count: int) -> str:
    """Inserts many rows in one statement, because each statement costs a switch between threads."""
    return f"INSERT INTO run_events ({_STORED_EVENT}) VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * count)}"  # noqa: S608


@cache
def put_terms(count: int) -> str:
    """Inserts many rows of the run index in one statement."""
    return f"INSERT OR REPLACE INTO run_terms (block, term, runs) VALUES {', '.join(['(?, ?, ?)'] * count)}"  # noqa: S608
