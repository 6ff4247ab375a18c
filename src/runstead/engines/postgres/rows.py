"""Rows to values and back."""

from collections.abc import Sequence
from typing import Any, Final

from runstead.core.runs.event import Event, NewEvent
from runstead.core.runs.run import FIELDS, Run, RunStatus
from runstead.core.usage.activity import RunSummary

EXTERNAL, PRIVATE, IS_ERROR, DELTA = 1, 2, 4, 8

_STATUSES: Final = {status.value: status for status in RunStatus}
_STATUS: Final = FIELDS.index("status")


def to_run(row: Sequence[Any]) -> Run:
    """A row whose first values are a run's fields."""
    values = list(row)
    values[_STATUS] = _STATUSES[values[_STATUS]]
    return Run(*values)


def to_summary(row: Sequence[Any]) -> RunSummary:
    seq, status, *times = row
    return RunSummary(seq, _STATUSES[status], *times)


def to_event(row: Sequence[Any]) -> Event:
    event_id, event_type, payload, created_at, flags, sequence = row
    return Event(
        event_id,
        event_type,
        payload,
        created_at,
        bool(flags & EXTERNAL),
        bool(flags & PRIVATE),
        bool(flags & IS_ERROR),
        sequence,
    )


def flags_of(event: NewEvent) -> int:
    return (
        EXTERNAL * event.external
        | PRIVATE * event.private
        | IS_ERROR * event.is_error
        | DELTA * (event.event_class == "delta")
    )


def line_above(path: str) -> list[int]:
    """The seqs of the runs above, root first: "/12/40/" → [12, 40]."""
    return [int(step) for step in path.split("/") if step]


def columns_of(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as the arrays that unnest takes."""
    return [list(column) for column in zip(*rows, strict=True)]
