"""The port for hints: something changed, look again.

A hint is sent after the commit, may be lost, and says nothing but a key. Whoever is woken reads the store by cursor;
whoever must not miss anything also looks from time to time.
"""

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol


def run_key(seq: int) -> str:
    """Hints that a run or its log changed."""
    return f"run:{seq}"


def queue_key(project_id: str) -> str:
    """Hints that a run of the project became claimable."""
    return f"queue:{project_id}"


class Notifier(Protocol):
    async def open(self) -> None:
        """Start to hear of other processes, where it does. One that cannot yet tries on by itself."""
        ...

    async def close(self) -> None: ...

    def publish(self, keys: Iterable[str]) -> None:
        """Wake everybody who subscribed to one of the keys. Never blocks, never fails."""
        ...

    def wake_all(self) -> None:
        """Wake every subscriber, whatever its key: the server stops."""
        ...

    def subscribe(self, key: str) -> AbstractContextManager[asyncio.Event]:
        """An event that is set at every hint for the key; the subscriber clears it before it reads the store."""
        ...
