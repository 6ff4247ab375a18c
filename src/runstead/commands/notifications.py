"""Following a whole project: its latest hints, numbered, in a ring that followers read by cursor.

A ring belongs to one project in one process and is fed by the notifier (`Notifier.listen`). It exists while somebody
follows, and for a while after the last one left; in between, a commit costs one look-up. Followers share the ring and
have nothing of their own but a number, so a slow one holds up nobody: once its place is overwritten, it is told to
read the lists again, and goes on from where the ring is now.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress

import msgspec

from runstead.core import limits
from runstead.core.change import Change
from runstead.core.clock import now_ms
from runstead.ports.notifier import Notifier


class Told(msgspec.Struct, frozen=True):
    """One hint and the cursor that goes on after it."""

    cursor: str
    hint: Change


class Batch(msgspec.Struct, frozen=True):
    """What a follower is told at once. An empty one is a sign of life; `cursor` is then where it stands, None while
    the follower's own cursor is still the one to keep.
    """

    told: tuple[Told, ...] = ()
    cursor: str | None = None


class Ring:
    """The newest hints of a project. Numbers start at 1 and grow by one; `epoch` tells rings apart."""

    def __init__(self, size: int) -> None:
        self.epoch = secrets.token_hex(8)
        self.latest = 0
        self.floor = 0  # hints up to this number are gone
        self.news = asyncio.Event()
        self.followers = 0
        self.left_at = 0.0
        self._slots: list[Change | None] = [None] * size

    def hear(self, hints: Sequence[Change] | None) -> None:
        """Take hints in. None: some were lost, so everybody must start anew."""
        slots = self._slots
        if hints is None:
            self.latest += 1  # nobody stands here yet, not even those who had read everything
            self.floor = self.latest
        else:
            for hint in hints:
                self.latest += 1
                slots[self.latest % len(slots)] = hint
            self.floor = max(self.floor, self.latest - len(slots))
        self.news.set()

    def cursor(self, number: int) -> str:
        return f"{self.epoch}-{number}"

    def place(self, cursor: str) -> int:
        """The number in a cursor, -1 where the cursor is of another ring or of none."""
        epoch, _, number = cursor.partition("-")
        if epoch != self.epoch or not (number.isascii() and number.isdigit() and len(number) <= 16):
            return -1
        return int(number) if int(number) <= self.latest else -1

    def after(self, number: int) -> list[tuple[int, Change]]:
        """What came after a number that is not below `floor`. Of several updates of a run only the last one is
        there, and none that its completion follows: its creation and its completion always are.
        """
        slots, found, later = self._slots, [], set()
        for each in range(self.latest, number, -1):
            hint = slots[each % len(slots)]
            assert hint is not None
            name = (hint.run_id, hint.conversation_id)
            if hint.type.endswith(".updated") and name in later:
                continue
            if hint.type != "run.created":
                later.add(name)
            found.append((each, hint))
        found.reverse()
        return found


class Notifications:
    """The rings of this process."""

    def __init__(self, notifier: Notifier, stopping: asyncio.Event) -> None:
        self._notifier = notifier
        self._stopping = stopping
        self._rings: dict[str, Ring] = {}

    def wake(self) -> None:
        """The server stops: everybody looks up."""
        for ring in self._rings.values():
            ring.news.set()

    async def follow(self, project_id: str, cursor: str | None = None) -> AsyncGenerator[Batch, None]:
        """Batches after a cursor, or from now on; an empty one at once, and after every silence of
        `limits.stream_heartbeat_s` seconds. Ends when the server stops.
        """
        ring = self._enter(project_id)
        try:
            place = ring.latest if cursor is None else ring.place(cursor)
            yield Batch(cursor=ring.cursor(place) if cursor is None else None)
            async for batch in self._batches(ring, place):
                yield batch
        finally:
            self._leave(project_id, ring)

    async def _batches(self, ring: Ring, place: int) -> AsyncIterator[Batch]:
        loop = asyncio.get_running_loop()
        quiet_until = loop.time() + limits.stream_heartbeat_s
        while not self._stopping.is_set():
            if place < ring.floor:
                place = ring.latest
                yield Batch((Told(ring.cursor(place), Change("resync", now_ms())),))
            elif place < ring.latest:
                told = ring.after(place)
                place = ring.latest
                yield Batch(tuple(Told(ring.cursor(number), hint) for number, hint in told))
            elif loop.time() >= quiet_until:
                yield Batch(cursor=ring.cursor(place))
            else:
                await _woken(ring.news, quiet_until - loop.time())
                continue
            quiet_until = loop.time() + limits.stream_heartbeat_s
            await asyncio.sleep(limits.change_interval_s)  # what comes meanwhile is told together

    def _enter(self, project_id: str) -> Ring:
        ring = self._rings.get(project_id)
        if ring is None:
            ring = self._rings[project_id] = Ring(limits.changes_per_project_max)
            self._notifier.listen(project_id, ring.hear)
        ring.followers += 1
        return ring

    def _leave(self, project_id: str, ring: Ring) -> None:
        ring.followers -= 1
        if ring.followers or self._rings.get(project_id) is not ring:
            return
        loop = asyncio.get_running_loop()
        ring.left_at = loop.time()
        loop.call_later(limits.changes_idle_s, self._expire, project_id, ring, ring.left_at)
        idle = [name for name, each in self._rings.items() if not each.followers]
        if len(idle) > limits.changes_idle_projects_max:
            oldest = min(idle, key=lambda name: self._rings[name].left_at)
            self._drop(oldest, self._rings[oldest])

    def _expire(self, project_id: str, ring: Ring, left_at: float) -> None:
        if not ring.followers and ring.left_at == left_at and self._rings.get(project_id) is ring:
            self._drop(project_id, ring)

    def _drop(self, project_id: str, ring: Ring) -> None:
        del self._rings[project_id]
        self._notifier.unlisten(project_id, ring.hear)


async def _woken(news: asyncio.Event, seconds: float) -> None:
    """Wait for news that came after the caller last looked: nothing else runs between its look and this."""
    news.clear()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()
