"""The port to what keeps the contents of artifacts. The store of runs tells which there are; this holds their bytes."""

import re
from collections.abc import AsyncIterator
from typing import Final, Protocol

from runstead.core.runs.artifact import Content

__all__ = ["KEY", "Artifacts", "Content", "TooLargeError"]

#: What an engine may call a content.
KEY: Final = re.compile(r"[0-9a-f-]{1,128}")


class TooLargeError(Exception):
    """More bytes came than were allowed. Nothing is kept."""


class Artifacts(Protocol):
    """Trouble with the medium is `STORE_UNAVAILABLE`. `run` is a run's uid, `key` that of one of its contents; anything
    else asked for is not there. No method ever changes what a key names.
    """

    async def open(self) -> None:
        """Make ready. RuntimeError with a sentence for the operator where it cannot be used."""
        ...

    async def close(self) -> None: ...

    async def put(self, run: str, chunks: AsyncIterator[bytes], bytes_max: int) -> Content:
        """Keep all that comes, under a new key; durable once this returns. TooLargeError. Where it raises, or is
        cancelled, nothing is kept.
        """
        ...

    def read(self, run: str, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end`. FileNotFoundError at the first of them where it is not there."""
        ...

    async def remove(self, run: str, key: str) -> None:
        """Nothing happens where it is not there."""
        ...

    async def remove_all(self, run: str) -> None:
        """Whatever is kept for the run."""
        ...
