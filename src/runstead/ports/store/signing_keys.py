"""The keys that the server signs with."""

from collections.abc import Sequence
from typing import Protocol

from runstead.core.identity.signing_key import SigningKey


class SigningKeys(Protocol):
    async def all(self) -> list[SigningKey]:
        """Oldest first."""
        ...

    async def add(self, keys: Sequence[SigningKey], *, only_first: bool) -> list[SigningKey]:
        """Add them, with `only_first` where there are none yet; all that there are then. Of each algorithm the
        newest `limits.signing_keys_max` are kept.
        """
        ...
