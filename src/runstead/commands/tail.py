"""The live end of a log: one read for all followers that stand at the same event, and its frames encoded once for all.

Followers of a log form groups by the place up to which they have read. A change notification starts one read for each
group that waits; what it finds wakes the whole group with one shared page. A follower that falls behind is a group of
its own until it has caught up, so it delays no other.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar


class Typed(Protocol):
    @property
    def type(self) -> str: ...


T = TypeVar("T", bound=Typed)


class Page(Generic[T]):
    """What one read found after a place in a log. `reached` is the place to go on from; `ended`: nothing follows it."""

    __slots__ = ("_encoded", "_events", "ended", "reached")

    def __init__(self, events: Sequence[T], reached: int, *, ended: bool) -> None:
        self._events = events
        self.reached = reached
        self.ended = ended
        self._encoded: dict[Callable[[T], bytes], tuple[list[bytes], bytes]] = {}

    def frames(self, to_frame: Callable[[T], bytes], types: frozenset[str]) -> bytes:
        """The frames of the events of these types, of all events without any. `to_frame` runs once for each event,
        however many followers ask: they must pass the same function, and it must depend on the event alone.
        """
        encoded = self._encoded.get(to_frame)
        if encoded is None:
            made = list(map(to_frame, self._events))
            encoded = self._encoded[to_frame] = made, b"".join(made)
        made, all_of_them = encoded
        if not types:
            return all_of_them
        return b"".join(one for event, one in zip(self._events, made, strict=True) if event.type in types)


class _Group(Generic[T]):
    """The followers that have read up to one place, each with the time at which it wants a heartbeat."""

    __slots__ = ("changes", "reading", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[asyncio.Future[Page[T] | None], float] = {}
        self.reading: asyncio.Task[None] | None = None
        self.changes = -1  # how many notifications the tail had got when the last read began


class Tail(ABC, Generic[T]):
    """One log with its followers. `set` is called at every change notification."""

    __slots__ = ("_changes", "_groups", "_latest", "followers", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.followers = 0
        self._groups: dict[int, _Group[T]] = {}
        self._changes = 0
        self._latest = 0

    @abstractmethod
    async def read(self, place: int) -> Page[T]:
        """The page after a place, from the store."""

    async def after(self, place: int, beat_at: float) -> Page[T] | None:
        """The next page after a place, as soon as there is one; None once the loop's clock passes `beat_at`, or when all
        are woken. Raises what the read raises.
        """
        group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = _Group()
        if group.reading is None and group.changes != self._changes:
            self._start(place, group)
        woken: asyncio.Future[Page[T] | None] = asyncio.get_running_loop().create_future()
        group.waiting[woken] = beat_at
        try:
            return await woken
        finally:
            group.waiting.pop(woken, None)
            self._drop_empty(place, group)

    def set(self) -> None:
        """The log may have changed: read again for each group."""
        self._changes += 1
        for place, group in self._groups.items():
            # Followers that are being woken come back by themselves, and see that something has changed.
            if group.reading is None and not all(woken.done() for woken in group.waiting):
                self._start(place, group)

    def look(self, latest: int | None) -> None:
        """Compare with the log's newest event id, None for a log that was deleted: a notification may have been lost."""
        if latest is None:
            for place, group in self._groups.items():
                _wake(group, Page((), place, ended=True))
        elif latest != self._latest:
            # Remembered, because the newest event may be private: it moves no place, and must not cost a read each time.
            self._latest = latest
            if any(place < latest for place in self._groups):
                self.set()

    def wake(self, now: float | None = None) -> None:
        """Wake the followers that want a heartbeat by now, or all of them."""
        for group in self._groups.values():
            for woken, beat_at in group.waiting.items():
                if (now is None or beat_at <= now) and not woken.done():
                    woken.set_result(None)

    def _start(self, place: int, group: _Group[T]) -> None:
        group.reading = asyncio.ensure_future(self._load(place, group))

    async def _load(self, place: int, group: _Group[T]) -> None:
        """Read until there is something, or nothing has changed since the read began."""
        try:
            while group.changes != self._changes:
                group.changes = self._changes
                page = await self.read(place)
                if page.ended or page.reached != place:
                    # Whoever comes to this place from now on reads for itself.
                    self._groups.pop(place, None)
                    _wake(group, page)
                    return
        except Exception as error:  # noqa: BLE001 - each of the followers raises it
            self._groups.pop(place, None)
            for woken in group.waiting:
                if not woken.done():
                    woken.set_exception(error)
        finally:
            group.reading = None
            self._drop_empty(place, group)

    def _drop_empty(self, place: int, group: _Group[T]) -> None:
        if not group.waiting and group.reading is None and self._groups.get(place) is group:
            del self._groups[place]


def _wake(group: _Group[T], page: Page[T]) -> None:
    for woken in group.waiting:
        if not woken.done():
            woken.set_result(page)
