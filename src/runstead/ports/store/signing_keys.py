"""The server's signing keys."""

from collections.abc import Sequence
from typing import Protocol

from runstead.core.identity.signing_key import SigningKey


class SigningKeys(Protocol):
    async def all(self) -> list[SigningKey]:
        """Return all keys, oldest first."""

    async def add(self, keys: Sequence[SigningKey], *, only_first: bool) -> list[SigningKey]:
        """Add keys, with `only_first` only if there are none yet, and return all keys. The newest
        `limits.signing_keys_max` keys of each algorithm are kept.
        """
