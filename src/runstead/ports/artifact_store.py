"""The port to the artifact store, which holds the bytes of artifacts.

The store of runs holds the list of artifacts.
"""

import re
from collections.abc import AsyncIterator
from typing import Final, Protocol

from runstead.core.runs.artifact import Content

__all__ = ["KEY", "Artifacts", "Content", "TooLargeError"]

#: The keys that an engine may generate.
KEY: Final = re.compile(r"[0-9a-f-]{1,128}")


class TooLargeError(Exception):
    """An upload is larger than allowed. Nothing was stored."""


class Artifacts(Protocol):
    """Methods raise STORE_UNAVAILABLE if the storage fails. `run` is the uid of a run, `key` identifies one
    of its contents. The bytes of a key never change.
    """

    async def open(self) -> None:
        """Prepare for use. RuntimeError with a message for the operator if the storage cannot be used."""

    async def close(self) -> None: ...

    async def put(
        self, run: str, chunks: AsyncIterator[bytes], bytes_max: int, key: str | None = None
    ) -> Content:
        """Store all chunks under a new key, or under the `key` that a copied store has for them. They are durable when this returns. If it raises or is cancelled,
        nothing is stored. TooLargeError.
        """

    def read(self, run: str, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, but not including, `end`.

        FileNotFoundError at the first chunk.
        """

    async def remove(self, run: str, key: str) -> None:
        """Delete a content. Does nothing if it does not exist."""

    async def remove_all(self, run: str) -> None:
        """Delete all contents of the run."""
