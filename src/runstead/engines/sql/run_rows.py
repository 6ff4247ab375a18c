"""Rows of runs and events as records, and records as rows, for both engines.

The columns of a record are named after its fields and stand in the order of the fields: statements get the list from here.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from runstead.core.runs.compensation import Compensation
from runstead.core.runs.event import DELTA_TYPES, Event, Source
from runstead.core.runs.run import FIELDS, RunStatus
from runstead.core.runs.signal import Signal
from runstead.core.runs.transition import EndedAttempt, Receipt
from runstead.core.runs.values import RunValue
from runstead.core.usage.activity import RunSummary

EXTERNAL, PRIVATE, IS_ERROR, DELTA = 1, 2, 4, 8
"""The flags of an event. A public reader's statement leaves out those with PRIVATE."""

_SOURCE_SHIFT: Final = 5
_SOURCES: Final[tuple[Source, ...]] = (
    "server",
    "caller",
    "worker",
    "worker",
    "writer",
    "writer",
    "retry",
    "retry",
)
"""The source of an event by two flags (32, 64) and EXTERNAL. Events of older versions have neither of the two."""
_SOURCE_FLAGS: Final[dict[Source, int]] = {
    "server": 0,
    "caller": EXTERNAL,
    "worker": EXTERNAL | 1 << _SOURCE_SHIFT,
    "writer": EXTERNAL | 2 << _SOURCE_SHIFT,
    "retry": 3 << _SOURCE_SHIFT,
}

EVENT_COLUMNS: Final = ("event_id", "type", "payload", "created_at", "flags", "sequence")

#: Words of statements.
ROW_WORDS: Final = {
    "event": ", ".join(EVENT_COLUMNS),
    "attempt": ", ".join(EndedAttempt.__struct_fields__),
    "receipt": ", ".join(Receipt.__struct_fields__),
    "signal": ", ".join(Signal.__struct_fields__),
    "compensation": ", ".join(Compensation.__struct_fields__),
    "run_value": ", ".join(RunValue.__struct_fields__),
}

STATUSES: Final = {status.value: status for status in RunStatus}


def run_columns(omitted: Collection[str] = (), **expressions: str) -> str:
    """The columns of a run for a statement, in the order of its fields: as they are stored, by an expression, or NULL."""
    columns = {name: name for name in FIELDS}
    columns |= {name: f"{expression} AS {name}" for name, expression in expressions.items()}
    columns |= {name: f"NULL AS {name}" for name in omitted}
    return ", ".join(columns.values())


def to_event(row: Sequence[Any]) -> Event:
    """The event in a row of `EVENT_COLUMNS`."""
    event_id, event_type, payload, created_at, flags, sequence = row
    return Event(
        event_id=event_id,
        type=event_type,
        payload=payload,
        created_at=created_at,
        source=_SOURCES[(flags >> _SOURCE_SHIFT & 3) << 1 | flags & EXTERNAL],
        private=bool(flags & PRIVATE),
        is_error=bool(flags & IS_ERROR),
        sequence=sequence,
    )


def event_row(event: Event) -> tuple[Any, ...]:
    """The values of `EVENT_COLUMNS`."""
    return (event.event_id, event.type, event.payload, event.created_at, flags_of(event), event.sequence)


def flags_of(event: Event) -> int:
    return (
        _SOURCE_FLAGS[event.source]
        | PRIVATE * event.private
        | IS_ERROR * event.is_error
        | DELTA * (event.type in DELTA_TYPES)
    )


def to_summary(row: Sequence[Any]) -> RunSummary:
    """The summary in a row of `RUN_SUMMARY_FIELDS`."""
    seq, status, created_at, completed_at, duration_ms = row
    return RunSummary(seq, STATUSES[status], created_at, completed_at, duration_ms)
