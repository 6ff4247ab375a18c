"""The secrets in the tables of other nouns, for encrypting them with another key."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from runstead.core.secret import StoredSecret


class Replacement(NamedTuple):
    row: str
    old: str
    new: str


class Secrets(Protocol):
    async def page(self, place: str, after: str, limit: int) -> list[StoredSecret]:
        """Return the next secrets of a place of `core.secret.PLACES`, by the ids of their rows after `after`."""

    async def replace(self, place: str, replacements: Sequence[Replacement]) -> None:
        """Replace values in one transaction. A value that is no longer the old one stays as it is."""
