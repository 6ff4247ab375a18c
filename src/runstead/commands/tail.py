"""The live end of a log: followers at the same event share one read, and its frames are encoded once.

Followers of a log form groups by the position up to which they have read. A change notification starts one
read for each waiting group, and the page wakes the whole group. A slow follower is a group of its own until
it has caught up, so it delays no other.
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
    """The events after a position in a log. `reached` is the next position. `ended`: no event follows."""

    __slots__ = ("_encoded", "_events", "ended", "reached")

    def __init__(self, events: Sequence[T], reached: int, *, ended: bool) -> None:
        self._events = events
        self.reached = reached
        self.ended = ended
        self._encoded: dict[Callable[[T], bytes], tuple[list[bytes], bytes]] = {}

    def frames(self, to_frame: Callable[[T], bytes], types: frozenset[str]) -> bytes:
        """Return the frames of the events of these types; of all events if `types` is empty.

        `to_frame` runs once per event for all followers. They must pass the same function, and its result
        must depend on the event only.
        """
        encoded = self._encoded.get(to_frame)
        if encoded is None:
            frames = list(map(to_frame, self._events))
            encoded = self._encoded[to_frame] = frames, b"".join(frames)
        frames, joined = encoded
        if not types:
            return joined
        pairs = zip(self._events, frames, strict=True)
        return b"".join(frame for event, frame in pairs if event.type in types)


class _Group(Generic[T]):
    """The followers at one position, each with the time of its next heartbeat."""

    __slots__ = ("changes", "reading", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[asyncio.Future[Page[T] | None], float] = {}
        self.reading: asyncio.Task[None] | None = None
        self.changes = -1  # the tail's notification count when the last read began


class Tail(ABC, Generic[T]):
    """A log and its followers. The notifier calls `set` at each change notification. `known`: the newest event that was
    read of the owner of the log.
    """

    __slots__ = ("_changes", "_groups", "_latest", "followers", "known", "name")

    def __init__(self, name: str, known: int = 0) -> None:
        self.name = name
        self.known = known
        self.followers = 0
        self._groups: dict[int, _Group[T]] = {}
        self._changes = 0
        self._latest = 0

    @abstractmethod
    async def read(self, position: int) -> Page[T]:
        """Read the page after a position from the store."""

    async def after(self, position: int, beat_at: float) -> Page[T] | None:
        """Wait for the next page after a position, until the loop's clock passes `beat_at`; then return None.

        Also returns None when `wake` wakes all followers. Raises what the read raises.
        """
        group = self._groups.get(position)
        if group is None:
            group = self._groups[position] = _Group()
        if group.reading is None and group.changes != self._changes:
            self._start(position, group)
        woken: asyncio.Future[Page[T] | None] = asyncio.get_running_loop().create_future()
        group.waiting[woken] = beat_at
        try:
            return await woken
        finally:
            group.waiting.pop(woken, None)
            self._drop_empty(position, group)

    def set(self) -> None:
        """Read again for each group, since the log may have changed."""
        self._changes += 1
        for position, group in self._groups.items():
            # Followers that are being woken call `after` again and see the new count.
            if group.reading is None and not all(woken.done() for woken in group.waiting):
                self._start(position, group)

    def compare(self, latest: int | None) -> None:
        """Read again if the log's newest event id changed: a notification may have been lost.

        None: the log was deleted.
        """
        if latest is None:
            for position, group in self._groups.items():
                _wake(group, Page((), position, ended=True))
        elif latest != self._latest:
            # Remembered, since the newest event may be private. It advances no follower, and must not cost a
            # read each time.
            self._latest = latest
            self.known = max(self.known, latest)
            if any(position < latest for position in self._groups):
                self.set()

    def wake(self, now: float | None = None) -> None:
        """Wake the followers whose heartbeat is due at `now`, or all followers."""
        for group in self._groups.values():
            for woken, beat_at in group.waiting.items():
                if (now is None or beat_at <= now) and not woken.done():
                    woken.set_result(None)

    def _start(self, position: int, group: _Group[T]) -> None:
        group.reading = asyncio.ensure_future(self._load(position, group))

    async def _load(self, position: int, group: _Group[T]) -> None:
        """Read until a page has events, or no notification arrived during the read."""
        try:
            while group.changes != self._changes:
                group.changes = self._changes
                page = await self.read(position)
                if page.ended or page.reached != position:
                    # Followers that reach this position from now on form a new group.
                    self._groups.pop(position, None)
                    _wake(group, page)
                    return
        except Exception as error:  # noqa: BLE001 - each follower raises it
            self._groups.pop(position, None)
            for woken in group.waiting:
                if not woken.done():
                    woken.set_exception(error)
        finally:
            group.reading = None
            self._drop_empty(position, group)

    def _drop_empty(self, position: int, group: _Group[T]) -> None:
        if not group.waiting and group.reading is None and self._groups.get(position) is group:
            del self._groups[position]


def _wake(group: _Group[T], page: Page[T]) -> None:
    for woken in group.waiting:
        if not woken.done():
            woken.set_result(page)
