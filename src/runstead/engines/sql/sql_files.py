"""Reads statements from .sql files, and migrations from a folder.

A statement begins with a line `-- name: <name>`; its file has the name of its noun. Text before the first statement is
about the file. A text for several statements has all their names: `-- name: price | lock_price`. In such a text, braces
hold the words in which the statements differ: `{| FOR UPDATE}` is nothing in the first, and locks in the second.
"""

import re
from collections.abc import Mapping, Set as AbstractSet
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from runstead import __version__

_NAMES: Final = re.compile(r"^-- name: (\w+(?: \| \w+)*)\n", re.MULTILINE)
_WORD: Final = r"(?:[^{}|]|\{[^{}|]*\})*"
_ALTERNATIVES: Final = re.compile(rf"\{{({_WORD}(?:\|{_WORD})+)\}}")


class NewerStoreError(RuntimeError):
    """The database was written by a newer Runstead."""


def named_bodies(folder: Traversable) -> dict[str, str]:
    """Name → the text after its `-- name:` line, from all .sql files of a folder."""
    named: dict[str, str] = {}
    for entry in _sql(folder):
        _, *parts = _NAMES.split(entry.read_text())
        for names, body in zip(parts[::2], parts[1::2], strict=True):
            for place, name in enumerate(names.split(" | ")):
                assert name not in named, f"two statements have the name {name}"
                named[name] = _ALTERNATIVES.sub(lambda found: found[1].split("|")[place], body)  # noqa: B023 - used at once
    return named


@cache
def migrations(package: str) -> Mapping[str, str]:
    """Name → what it does, in their order."""
    return {
        entry.name.removesuffix(".sql"): entry.read_text() for entry in _sql(files(package) / "migrations")
    }


def refuse_newer(done: AbstractSet[str], known: Mapping[str, str]) -> None:
    """NewerStoreError where a migration was applied that this program does not know."""
    if newer := sorted(done - known.keys()):
        raise NewerStoreError(
            f"The database was written by a newer Runstead (it knows {newer[0]}, this program, {__version__}, does not):"
            " install the version that migrated it, or a newer one. To go back to this version, restore the backup that"
            " was made before the upgrade"
        )


def _sql(folder: Traversable) -> list[Traversable]:
    found = (one for one in folder.iterdir() if one.name.endswith(".sql"))
    return sorted(found, key=lambda one: one.name)
