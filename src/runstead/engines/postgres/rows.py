"""Rows to values and back."""

from collections.abc import Sequence
from typing import Any, Final

from runstead.core.runs.run import FIELDS, Run
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.sql import update_one
from runstead.engines.sql.columns import changes
from runstead.engines.sql.run_rows import STATUSES

_STATUS: Final = FIELDS.index("status")


def to_run(row: Sequence[Any]) -> Run:
    """A row whose first values are a run's fields."""
    values = list(row)
    values[_STATUS] = STATUSES[values[_STATUS]]
    return Run(*values)


async def rewrite(connection: Connection, table: str, old: Any, new: Any) -> None:
    """Write what differs, of a record with an id that this transaction holds."""
    if changed := changes(old, new):
        written = await connection.execute(update_one(table, tuple(changed)), old.id, *changed.values())
        assert written == "UPDATE 1", (table, old.id)


def columns_of(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as the arrays that unnest takes."""
    return [list(column) for column in zip(*rows, strict=True)]
