"""The port for hints: something changed, look again.

A hint is sent after the commit, may be lost, and says nothing but a key. Whoever is woken reads the store by cursor;
whoever must not miss anything also looks from time to time.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from runstead.core.change import Change


def run_key(seq: int) -> str:
    """Hints that a run or its log changed."""
    return f"run:{seq}"


def family_key(root_seq: int) -> str:
    """Hints that a run of a family, or its log, changed."""
    return f"family:{root_seq}"


def batch_key(batch_id: str) -> str:
    """Hints that a run of a batch changed."""
    return f"batch:{batch_id}"


def queue_key(project_id: str) -> str:
    """Hints that a run of the project became claimable."""
    return f"queue:{project_id}"


def slot_key(project_id: str) -> str:
    """Hints that a run of the project runs no more: where runs are limited, another may begin."""
    return f"slots:{project_id}"


Listener = Callable[[Sequence[Change] | None], None]
"""Takes hints about one project in; None where some may have been lost. Never blocks, never fails."""
#: Hints that a run is to be pushed, or to be stopped at its push service.
PUSH_KEY: Final = "push"
#: Hints that a delivery to a webhook may be due.
DELIVERY_KEY: Final = "delivery"

#: Hints that a run has ended whose end another waits for: the referee tells it.
DEADLINES_KEY: Final = "enforce_deadlines"

#: Hints that the leader has given up the lead.
LEADER_KEY: Final = "leader"


class Signal(Protocol):
    """What a notifier sets: an asyncio.Event, or a subscriber that does something of its own at once."""

    def set(self) -> None:
        """Never blocks, never fails."""
        ...


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

    def subscribe(self, *keys: str) -> AbstractContextManager[asyncio.Event]:
        """An event that is set at every hint for one of the keys; the subscriber clears it before it reads the store."""
        ...

    def attach(self, key: str, signal: Signal) -> None:
        """Call `signal.set` at every hint for the key, on the event loop's thread, until `detach`."""
        ...

    def detach(self, key: str, signal: Signal) -> None: ...

    # Hints about a project. Listeners keep them in order and number them, so these are not merged: each comes once, and
    # those of one run in the order of its commits. An engine that carries hints between processes must tell every
    # listener of every process, its own included, and where its connection broke and some may be missing, give None
    # to each listener: whoever follows then reads the lists again.

    def has_listeners(self, project_id: str) -> bool:
        """Whether anybody may listen to the project; True where an engine cannot know it of other processes. Asked
        after every commit, so it costs a look-up: hints are built only for listeners.
        """
        ...

    def publish_changes(self, project_id: str, hints: Sequence[Change]) -> None:
        """Give the hints to all who listen to the project. Never blocks, never fails."""
        ...

    def listen(self, project_id: str, listener: Listener) -> None:
        """Hand every hint about the project to the listener, on the event loop's thread, until `unlisten`."""
        ...

    def unlisten(self, project_id: str, listener: Listener) -> None: ...
