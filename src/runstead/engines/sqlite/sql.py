"""The statements: named ones from the .sql files, and the few whose shape depends on what is written."""

from functools import cache, lru_cache
from typing import Final

from runstead.core.batches.batch import BATCH_FIELDS
from runstead.core.runs.run import FIELDS, LARGE
from runstead.core.usage.rollup import FACT_FIELDS
from runstead.engines.sql.columns import RECORDS, WORDS
from runstead.engines.sql.dialect import Dialect, statements
from runstead.engines.sql.run_rows import EVENT_COLUMNS, ROW_WORDS
from runstead.engines.sql.run_terms import FACTS

COLUMNS: Final = ", ".join(FIELDS)
EVENT_BITS: Final = 24
#: What an audit looks at: no large values, and an error only where it is short (else it is empty).
_AUDITED: Final = ", ".join(
    "NULL"
    if field in LARGE
    else "iif(length(error) <= 65536, error, substr(error, 1, 0))"
    if field == "error"
    else field
    for field in FIELDS
)
_REACH: Final = (
    "(SELECT coalesce(group_concat(project_id, ' '), '') FROM push_reach WHERE service_id = push_services.id)"
)
#: JSON holds no bytes.
_INDEXED_TEXT: Final = ", ".join("CAST(labels AS TEXT)" if field == "labels" else field for field in FACTS)
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
    },
)
#: The statements of this engine alone: name → text.
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
        "audited": _AUDITED,
        "facts": ", ".join(FACT_FIELDS),
        "indexed_text": _INDEXED_TEXT,
    },
    DIALECT,
)


@lru_cache(512)
def insert_run(given: tuple[int, ...]) -> str:
    """Sets the columns with these places in `FIELDS`; the others are NULL. Naming all of them takes twice as long."""
    columns = ", ".join(FIELDS[place] for place in given)
    return f"INSERT INTO runs ({columns}) VALUES ({', '.join('?' * len(given))})"  # noqa: S608 - our own names


@cache
def update_run(changed: tuple[str, ...]) -> str:
    """Sets these columns; then seq and the version that was read guard it."""
    columns = ", ".join(f"{name} = ?" for name in changed)
    return f"UPDATE runs SET {columns} WHERE seq = ? AND version = ?"  # noqa: S608 - our own names


@cache
def insert_events(count: int) -> str:
    """One statement for many rows: each statement is a hand-over between threads, each row is not."""
    return f"INSERT INTO run_events ({_STORED_EVENT}) VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * count)}"  # noqa: S608


@cache
def put_terms(count: int) -> str:
    """The same for rows of the index of runs."""
    return f"INSERT OR REPLACE INTO run_terms (block, term, runs) VALUES {', '.join(['(?, ?, ?)'] * count)}"  # noqa: S608
