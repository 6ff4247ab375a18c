"""Notifications within one process and one event loop."""

import asyncio
from collections.abc import Iterable, Sequence

from runstead.core.change import Change
from runstead.ports.notifier import Listener, Signal


class Listeners:
    """The listeners of this process to the changes of projects."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def has_listeners(self, project_id: str) -> bool:
        return project_id in self._listeners

    def listen(self, project_id: str, listener: Listener) -> None:
        self._listeners.setdefault(project_id, []).append(listener)

    def unlisten(self, project_id: str, listener: Listener) -> None:
        listeners = self._listeners.get(project_id, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._listeners.pop(project_id, None)


class LocalNotifier(Listeners):
    """See `runstead.ports.notifier.Notifier`. A key without subscribers costs one look-up."""

    def __init__(self) -> None:
        super().__init__()
        self._subscribers: dict[str, set[Signal]] = {}

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def publish(self, keys: Iterable[str]) -> None:
        subscribers = self._subscribers
        if not subscribers:
            return
        for key in keys:
            for event in subscribers.get(key, ()):
                event.set()

    def wake_all(self) -> None:
        for events in self._subscribers.values():
            for event in events:
                event.set()

    def subscribe(self, *keys: str) -> "Subscription":
        return Subscription(self, keys)

    def attach(self, key: str, signal: Signal) -> None:
        self._subscribers.setdefault(key, set()).add(signal)

    def detach(self, key: str, signal: Signal) -> None:
        signals = self._subscribers.get(key)
        if signals is None:
            return
        signals.discard(signal)
        if not signals:
            del self._subscribers[key]

    def publish_changes(self, project_id: str, changes: Sequence[Change]) -> None:
        for listener in self._listeners.get(project_id, ()):
            listener(changes)

    def __len__(self) -> int:
        """Number of open subscriptions."""
        return sum(map(len, self._subscribers.values()))


class Subscription:
    """A context manager that subscribes its event to the keys."""

    __slots__ = ("_event", "_keys", "_notifier")

    def __init__(self, notifier: LocalNotifier, keys: tuple[str, ...]) -> None:
        self._notifier = notifier
        self._keys = keys
        self._event = asyncio.Event()

    def __enter__(self) -> asyncio.Event:
        for key in self._keys:
            self._notifier.attach(key, self._event)
        return self._event

    def __exit__(self, *_: object) -> None:
        for key in self._keys:
            self._notifier.detach(key, self._event)
