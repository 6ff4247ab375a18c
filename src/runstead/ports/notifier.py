"""The port for change notifications.

A notification is sent after the commit, carries only a key, and may be lost. A subscriber that is woken reads
the store by cursor. A subscriber that must not miss a change also polls.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Final, Protocol

from runstead.core.change import Change


def run_key(seq: int) -> str:
    """Key: the run or its log changed."""
    return f"run:{seq}"


def family_key(root_seq: int) -> str:
    """Key: a run of the family, or its log, changed."""
    return f"family:{root_seq}"


def batch_key(batch_id: str) -> str:
    """Key: a run of the batch changed."""
    return f"batch:{batch_id}"


def queue_key(project_id: str) -> str:
    """Key: a run of the project became claimable."""
    return f"queue:{project_id}"


def slot_key(project_id: str) -> str:
    """Key: a run of the project stopped running, so that a concurrency slot may be free."""
    return f"slots:{project_id}"


def worker_key(worker_id: str) -> str:
    """Key: the worker was removed."""
    return f"worker:{worker_id}"


Listener = Callable[[Sequence[Change] | None], None]
"""Receives the changes of one project; None if some may have been lost. It never blocks and never raises."""

#: Key: a run must be pushed, or stopped at its push service.
PUSH_KEY: Final = "push"

#: Key: a delivery to a webhook may be due.
DELIVERY_KEY: Final = "delivery"

#: Key: a run has ended whose parent waits for it. The deadlines loop resumes the parent.
DEADLINES_KEY: Final = "enforce_deadlines"

#: Key: a budget was raised, changed or deleted, so that runs which wait for it may continue.
BUDGETS_KEY: Final = "budgets"

#: Key: the leader has resigned.
LEADER_KEY: Final = "leader"


class Signal(Protocol):
    """What a notifier sets: an asyncio.Event, or an object that acts at once."""

    def set(self) -> None:
        """Never blocks and never raises."""


class Notifier(Protocol):
    async def open(self) -> None:
        """Connect to other processes, if the engine does so. If that fails, it retries in the background."""

    async def close(self) -> None: ...

    def publish(self, keys: Iterable[str]) -> None:
        """Wake all subscribers of the keys. Never blocks and never raises."""

    def wake_all(self) -> None:
        """Wake every subscriber of any key, because the server stops."""

    def subscribe(self, *keys: str) -> AbstractContextManager[asyncio.Event]:
        """Return an event that is set at every notification of the keys.

        Clear it before you read the store.
        """

    def attach(self, key: str, signal: Signal) -> None:
        """Call `signal.set` at every notification of the key, on the event loop's thread, until `detach`."""

    def detach(self, key: str, signal: Signal) -> None: ...

    # Changes of a project. Listeners number them, so they are not merged: each change arrives once, and the
    # changes of a run arrive in the order of its commits. An engine between processes sends each change to
    # every listener of every process, including its own. If its connection broke and changes may be lost, it
    # sends None to each listener, whose followers then read the lists again.

    def has_listeners(self, project_id: str) -> bool:
        """Whether the project may have a listener. True if the engine cannot know about other processes.

        It is called after every commit, so it is only a look-up: changes are built for listeners only.
        """

    def publish_changes(self, project_id: str, changes: Sequence[Change]) -> None:
        """Send the changes to all listeners of the project. Never blocks and never raises."""

    def listen(self, project_id: str, listener: Listener) -> None:
        """Call the listener with every change of the project, on the event loop's thread, until `unlisten`."""

    def unlisten(self, project_id: str, listener: Listener) -> None: ...


async def pause(until: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, at most `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await until.wait()
