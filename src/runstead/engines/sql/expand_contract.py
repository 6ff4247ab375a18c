"""Finds the statements of a migration that earlier versions may not work with.

A rolling upgrade has replicas of two versions on one schema. So a migration only expands it. One that contracts it has a
line `-- contract: <version>`, the first version that works with the result, and is released after that version.
"""

import re
from collections.abc import Iterator
from typing import Final

from runstead.core.migration import PendingMigration

_MARKER: Final = re.compile(r"^-- contract: (\d+\.\d+\.\d+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"--.*$", re.MULTILINE)
_NAME: Final = r"(?:IF (?:NOT )?EXISTS )?(?:ONLY )?(\w+)"
_CREATED: Final = re.compile(
    rf"\bCREATE (?:TEMP |UNIQUE |OR REPLACE )?(TABLE|INDEX|FUNCTION|VIEW) {_NAME}", re.IGNORECASE
)
_DROPPED: Final = re.compile(rf"^DROP \w+ {_NAME}", re.IGNORECASE)
_CHANGED: Final = re.compile(rf"^(?:ALTER TABLE|CREATE UNIQUE INDEX {_NAME} ON) {_NAME}", re.IGNORECASE)
_ADDED: Final = re.compile(r"\bADD COLUMN (.*?)(?=, (?:ADD|ALTER|DROP)\b|$)", re.IGNORECASE)
_BREAKING: Final = re.compile(
    r"^CREATE UNIQUE INDEX\b|\b(?:DROP|RENAME|SET NOT NULL|ADD (?:CONSTRAINT|CHECK|UNIQUE|FOREIGN|PRIMARY|EXCLUDE))\b"
    r"|\bALTER COLUMN \w+ (?:SET DATA )?TYPE\b",
    re.IGNORECASE,
)


def pending_migration(name: str, sql: str) -> PendingMigration:
    marker = _MARKER.search(sql)
    return PendingMigration(name, tuple(_breaking(sql)), marker and marker[1])


def _breaking(sql: str) -> Iterator[str]:
    text = " ".join(_COMMENT.sub("", sql).split())
    indexes = {found[2] for found in _CREATED.finditer(text) if found[1].upper() == "INDEX"}
    created: set[str] = set()  # until this statement: earlier versions do not use it
    for statement in filter(None, map(str.strip, text.split(";"))):
        dropped, changed = _DROPPED.match(statement), _CHANGED.match(statement)
        own = (dropped and dropped[1] in created | indexes) or (changed and changed[2] in created)
        created |= {found[2] for found in _CREATED.finditer(statement)}
        added = (found[1].upper() for found in _ADDED.finditer(statement))
        required = any("NOT NULL" in one and "DEFAULT" not in one for one in added)
        if not own and (required or _BREAKING.search(statement)):
            yield statement
