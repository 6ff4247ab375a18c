"""The statements: named ones from the .sql files, and the few whose shape depends on what is written or asked."""

import re
from collections.abc import Sequence
from functools import cache
from types import NoneType
from typing import Final, get_args, get_type_hints

from runstead.core.batches.batch import BATCH_FIELDS, COUNTED
from runstead.core.runs.run import FIELDS, LARGE, Run
from runstead.core.usage.rollup import FACT_FIELDS
from runstead.engines.sql.columns import RECORDS, WORDS
from runstead.engines.sql.dialect import Dialect, statements
from runstead.engines.sql.run_rows import ROW_WORDS

CLOCK: Final = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
COUNTERS: Final = ("descendants_total", "descendants_active")
STORED: Final = tuple(field for field in FIELDS if field not in COUNTERS)
"""The fields that are columns of `runs`."""

COLUMNS: Final = ", ".join(
    f"coalesce({field}, 0) AS {field}" if field in COUNTERS else field for field in FIELDS
)
LOCKED: Final = f"{COLUMNS}, familied"
"""What a row tells that is held."""
#: What an audit looks at: no large values, and an error only where it is short (else it is empty).
_AUDITED: Final = ", ".join(
    f"coalesce({field}, 0)"
    if field in COUNTERS
    else f"NULL AS {field}"
    if field in LARGE
    else "CASE WHEN octet_length(error) <= 65536 THEN error WHEN error IS NOT NULL THEN ''::bytea END"
    if field == "error"
    else field
    for field in FIELDS
)
# LIMIT keeps it a look-up for each run: as a join, it could be planned as a scan of all families.
RUNS: Final = (
    "runs LEFT JOIN LATERAL (SELECT descendants_total, descendants_active FROM run_families"
    " WHERE run_seq = runs.seq LIMIT 1) AS family ON true"
)

# What nearly every transition moves is written with every update; anything else, and the large values above all, only
# where it changed.
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
        "version",
    }
)

#: What an append of events moves. No index of runs knows these, so that such an update writes none of them.
APPENDED: Final = ("updated_at", "latest_event_id", "latest_external_event_sequence", "version")

#: What a completion brings beside what moves: set once, so a value that is not given leaves the stored one as it is.
BROUGHT: Final = ("exit_code", "error", "metadata", "artifacts", "output", "logs")

_REACH: Final = (
    "array_to_string(ARRAY(SELECT project_id FROM push_reach WHERE service_id = ANY (ARRAY[push_services.id])"
    " ORDER BY service_id, project_id), ' ')"
)

# A batch's own columns, and its counters from the few rows over which they are spread.
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
    "postgres", RECORDS, {"clock": CLOCK, "reach": _REACH, "batch": BATCH, "batches": BATCHES, "runs": RUNS}
)
#: The statements of this engine alone: name → text.
Q: Final = statements(
    __package__,
    WORDS
    | ROW_WORDS
    | {
        "columns": COLUMNS,
        "locked": LOCKED,
        "runs": RUNS,
        "clock": CLOCK,
        "audited": _AUDITED,
        "counted": ", ".join(COUNTED),
        "facts": ", ".join(FACT_FIELDS),
    },
    DIALECT,
)


def _column_type(hint: object) -> str:
    kinds = set(get_args(hint) or (hint,))
    return "bigint" if int in kinds else "bytea" if bytes in kinds else "text"


_TYPES: Final = {field: _column_type(hint) for field, hint in get_type_hints(Run).items()}

_REQUIRED: Final = {name for name, hint in get_type_hints(Run).items() if NoneType not in get_args(hint)}
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
"""What most runs are created with. The other columns may be NULL, and are left out where they are so in all of a batch."""

LISTENING = 61  # with hints: not of names, for as long as a session listens
ROLLUPS = 54


def _arrays(columns: Sequence[str], first: int = 1) -> str:
    return ", ".join(f"${place}::{_TYPES[field]}[]" for place, field in enumerate(columns, first))


@cache
def insert_runs(columns: tuple[str, ...]) -> str:
    """Inserts many runs, with these columns of theirs."""
    names = ", ".join(columns)
    return (
        f"INSERT INTO runs ({names}) SELECT * FROM unnest({_arrays(columns)})"  # noqa: S608 - our own names
        f' AS made ({names}) ORDER BY run_id COLLATE "C", project_id COLLATE "C"'
    )


@cache
def update_runs(columns: tuple[str, ...], kept: tuple[str, ...] = ()) -> str:
    """Sets these columns of many runs; their seqs and the versions that were read come first, and guard it. Then come
    the `kept` columns: NULL leaves one as it is.
    """
    sets = [f"{column} = new.{column}" for column in columns]
    sets += [f"{column} = coalesce(new.{column}, runs.{column})" for column in kept]
    names = (*columns, *kept)
    arrays = f"$1::bigint[], $2::bigint[], {_arrays(names, 3)}"
    return (
        f"UPDATE runs SET {', '.join(sets)} FROM unnest({arrays}) AS new (old_seq, old_version, {', '.join(names)})"  # noqa: S608
        " CROSS JOIN LATERAL (SELECT ctid FROM runs AS old"
        " WHERE old.seq = new.old_seq AND old.version = new.old_version LIMIT 1) AS found"
        " WHERE runs.ctid = found.ctid"
    )


@cache
def of_one(statement: str) -> str:
    """A statement on the rows of arrays as one on a single row, whose values are its arguments. An insert of one run takes
    51 µs in place of 101, an update 58 in place of 91: an array is sent and unfolded, however few it holds.
    """
    values = re.sub(r"unnest\(([^()]*)\)", r"(VALUES (\1))", statement).replace("[]", "")
    return re.sub(r"(\(VALUES \([^()]*\)\))(?!\s+AS)", r"\1 AS given", values)


@cache
def together(statements: tuple[str, ...]) -> str:
    """Writes of different rows as one statement, with their arguments one after the other; it tells how many rows each
    has written. They are worked off in this order, since each is first looked at where its rows are counted.
    """
    parts: list[str] = []
    given = 0
    for number, statement in enumerate(statements):
        moved = re.sub(r"\$(\d+)", lambda place: f"${int(place[1]) + given}", statement)  # noqa: B023 - used at once
        parts.append(f"s{number} AS ({moved} RETURNING 1)")
        given += max(int(place) for place in re.findall(r"\$(\d+)", statement))
    counts = ", ".join(f"(SELECT count(*) FROM s{number})" for number in range(len(statements)))  # noqa: S608
    return f"WITH {', '.join(parts)} SELECT {counts}"
