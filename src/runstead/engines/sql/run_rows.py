"""Rows of runs and events as records, and records as rows, for both engines.

The columns of a record are named after its fields and stand in the order of the fields: statements get the list from here.
"""

from collections.abc import Sequence
from typing import Any, Final

from runstead.core.runs.event import DELTA_TYPES, Event
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import EndedAttempt, Receipt
from runstead.core.usage.activity import RunSummary

EXTERNAL, PRIVATE, IS_ERROR, DELTA = 1, 2, 4, 8
"""The flags of an event. A public reader's statement leaves out those with PRIVATE."""

EVENT_COLUMNS: Final = ("event_id", "type", "payload", "created_at", "flags", "sequence")

#: Words of statements.
ROW_WORDS: Final = {
    "event": ", ".join(EVENT_COLUMNS),
    "attempt": ", ".join(EndedAttempt.__struct_fields__),
    "receipt": ", ".join(Receipt.__struct_fields__),
}

STATUSES: Final = {status.value: status for status in RunStatus}


def to_event(row: Sequence[Any]) -> Event:
    """The event in a row of `EVENT_COLUMNS`."""
    event_id, event_type, payload, created_at, flags, sequence = row
    return Event(
        event_id=event_id,
        type=event_type,
        payload=payload,
        created_at=created_at,
        external=bool(flags & EXTERNAL),
        private=bool(flags & PRIVATE),
        is_error=bool(flags & IS_ERROR),
        sequence=sequence,
    )


def event_row(event: Event) -> tuple[Any, ...]:
    """The values of `EVENT_COLUMNS`."""
    return (
        event.event_id,
        event.type,
        event.payload,
        event.created_at,
        flags_of(event),
        event.sequence,
    )


def flags_of(event: Event) -> int:
    return (
        EXTERNAL * event.external
        | PRIVATE * event.private
        | IS_ERROR * event.is_error
        | DELTA * (event.type in DELTA_TYPES)
    )


def to_summary(row: Sequence[Any]) -> RunSummary:
    """The summary in a row of `RUN_SUMMARY_FIELDS`."""
    seq, status, created_at, completed_at, duration_ms = row
    return RunSummary(seq, STATUSES[status], created_at, completed_at, duration_ms)
