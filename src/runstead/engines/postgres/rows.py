"""Rows to values and back."""

from collections.abc import Sequence
from typing import Any, Final

from runstead.core.runs.run import FIELDS, Run
from runstead.engines.sql.run_rows import STATUSES

_STATUS: Final = FIELDS.index("status")


def to_run(row: Sequence[Any]) -> Run:
    """A row whose first values are a run's fields."""
    values = list(row)
    values[_STATUS] = STATUSES[values[_STATUS]]
    return Run(*values)


def columns_of(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as the arrays that unnest takes."""
    return [list(column) for column in zip(*rows, strict=True)]


def text_of(numbers: Sequence[int | None]) -> str:
    """An array of numbers as PostgreSQL reads it: [1, None] → "{1, NULL}"."""
    return "{" + str([*numbers])[1:-1].replace("None", "NULL") + "}"
