"""The statements: named ones from queries.sql, and the few whose shape depends on what is written."""

import re
from functools import cache
from importlib.resources import files
from typing import Final

from runstead.run import FIELDS, LARGE

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
_EVENT_COLUMNS: Final = "id, type, payload, created_at, flags, sequence"


def _named() -> dict[str, str]:
    text = "\n".join(
        (files(__package__) / name).read_text()
        for name in ("queries.sql", "audit.sql", "retention.sql", "workers.sql")
    )
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    assert len(set(parts[::2])) == len(parts[::2]), "two queries have one name"
    return {
        name: body.strip().replace("{columns}", COLUMNS).replace("{audited}", _AUDITED)
        for name, body in zip(parts[::2], parts[1::2], strict=True)
    }


Q: Final = _named()

INSERT_RUN: Final = (
    f"INSERT INTO runs ({', '.join(f for f in FIELDS if f != 'seq')}) "  # noqa: S608 - our own names
    f"VALUES ({', '.join('?' for f in FIELDS if f != 'seq')})"
)


@cache
def update_run(changed: tuple[int, ...]) -> str:
    """Sets the columns with these places in `FIELDS`; then seq and the version that was read guard it."""
    columns = ", ".join(f"{FIELDS[place]} = ?" for place in changed)
    return f"UPDATE runs SET {columns} WHERE seq = ? AND version = ?"  # noqa: S608 - our own names


@cache
def insert_events(count: int) -> str:
    """One statement for many rows: each statement is a hand-over between threads, each row is not."""
    return f"INSERT INTO run_events ({_EVENT_COLUMNS}) VALUES {', '.join(['(?, ?, ?, ?, ?, ?)'] * count)}"  # noqa: S608
