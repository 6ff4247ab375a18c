"""Change notifications of a project: the latest changes, numbered, in a ring buffer that followers read by
cursor.

A buffer belongs to one project, or to the changes of one project that leave a run in one status, in one process. The notifier fills it (`Notifier.listen`). It exists while the
project has followers, and for `limits.changes_idle_s` after the last one left. Without a buffer, a commit
costs one look-up.

All followers of a project share its buffer, and each keeps only a number, so a slow follower delays no other.
When its position is overwritten, it gets a `resync`: it reads the lists again and continues at the newest
change.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec

from runstead.core import limits
from runstead.core.change import Change
from runstead.core.clock import now_ms
from runstead.core.runs.run import RunStatus
from runstead.ports.notifier import Notifier, pause

#: A project, and the status of the runs whose changes are followed; None: every change.
_Followed = tuple[str, RunStatus | None]


class NumberedChange(msgspec.Struct, frozen=True):
    """A change and the cursor after it."""

    cursor: str
    change: Change


class ChangePage(msgspec.Struct, frozen=True):
    """The changes that a follower receives at once. An empty page is a heartbeat.

    The `cursor` of an empty page is the follower's position. None: the follower's cursor stays valid.
    """

    changes: tuple[NumberedChange, ...] = ()
    cursor: str | None = None


class ChangeBuffer:
    """The newest changes of a project, numbered from 1. `epoch` distinguishes buffers in cursors.

    With a `status`, only the changes that leave a run in it: other changes wake no follower.
    """

    def __init__(self, size: int, status: RunStatus | None = None) -> None:
        self.epoch = secrets.token_hex(8)
        self.latest = 0
        self.floor = 0  # changes up to this number are overwritten or lost
        self.changed = asyncio.Event()
        self.followers = 0
        self.left_at = 0.0
        self._status = status
        self._slots: list[Change | None] = [None] * size

    def add(self, changes: Sequence[Change] | None) -> None:
        """Append changes. None: some were lost, so every follower must resync."""
        slots = self._slots
        if changes is None:
            self.latest += 1  # a number that no follower has reached, so that all are below the floor
            self.floor = self.latest
        else:
            if self._status is not None:
                changes = [one for one in changes if one.run_id is not None and one.status == self._status]
                if not changes:
                    return
            for change in changes:
                self.latest += 1
                slots[self.latest % len(slots)] = change
            self.floor = max(self.floor, self.latest - len(slots))
        self.changed.set()

    def cursor(self, number: int) -> str:
        return f"{self.epoch}-{number}"

    def position(self, cursor: str) -> int:
        """Return the number in a cursor. -1: the cursor is malformed or of another buffer."""
        epoch, _, number = cursor.partition("-")
        if epoch != self.epoch or not (number.isascii() and number.isdigit() and len(number) <= 16):
            return -1
        return int(number) if int(number) <= self.latest else -1

    def after(self, number: int) -> list[tuple[int, Change]]:
        """Return the changes after a number, which must not be below `floor`.

        Creations and completions are all returned. Of a run's updates, only the last one is returned, and
        none if the run's completion follows it.
        """
        slots, found, later = self._slots, [], set()
        for each in range(self.latest, number, -1):
            change = slots[each % len(slots)]
            assert change is not None
            name = (change.run_id, change.conversation_id)
            if change.type.endswith(".updated") and name in later:
                continue
            if change.type != "run.created":
                later.add(name)
            found.append((each, change))
        found.reverse()
        return found


class Notifications:
    """The change buffers of this process."""

    def __init__(self, notifier: Notifier, stopping: asyncio.Event) -> None:
        self._notifier = notifier
        self._stopping = stopping
        self._buffers: dict[_Followed, ChangeBuffer] = {}

    def wake(self) -> None:
        """Wake every follower because the server stops."""
        for buffer in self._buffers.values():
            buffer.changed.set()

    async def follow(
        self, project_id: str, cursor: str | None = None, status: RunStatus | None = None
    ) -> AsyncGenerator[ChangePage, None]:
        """Yield pages of changes after a cursor, or from now on, until the server stops.

        With a `status`, only the changes that leave a run in it.

        An empty page comes first, and then after each `limits.stream_heartbeat_s` seconds without a change.
        """
        followed = (project_id, status)
        buffer = self._enter(followed)
        try:
            position = buffer.latest if cursor is None else buffer.position(cursor)
            yield ChangePage(cursor=buffer.cursor(position) if cursor is None else None)
            async for page in self._pages(buffer, position):
                yield page
        finally:
            self._leave(followed, buffer)

    async def _pages(self, buffer: ChangeBuffer, position: int) -> AsyncIterator[ChangePage]:
        loop = asyncio.get_running_loop()
        quiet_until = loop.time() + limits.stream_heartbeat_s
        while not self._stopping.is_set():
            if position < buffer.floor:
                position = buffer.latest
                yield ChangePage((NumberedChange(buffer.cursor(position), Change("resync", now_ms())),))
            elif position < buffer.latest:
                latest, found = buffer.latest, buffer.after(position)
                more = len(found) > limits.changes_per_page_max
                del found[limits.changes_per_page_max :]
                position = found[-1][0] if more else latest
                yield ChangePage(tuple(NumberedChange(buffer.cursor(at), change) for at, change in found))
                del found  # a slow follower keeps only its page in memory
                if more:
                    continue
            elif loop.time() >= quiet_until:
                yield ChangePage(cursor=buffer.cursor(position))
            else:
                await _wait_for(buffer.changed, quiet_until - loop.time())
                continue
            quiet_until = loop.time() + limits.stream_heartbeat_s
            await asyncio.sleep(limits.change_interval_s)  # changes in this interval share a page

    def _enter(self, followed: _Followed) -> ChangeBuffer:
        buffer = self._buffers.get(followed)
        if buffer is None:
            buffer = self._buffers[followed] = ChangeBuffer(limits.changes_per_project_max, followed[1])
            self._notifier.listen(followed[0], buffer.add)
        buffer.followers += 1
        return buffer

    def _leave(self, followed: _Followed, buffer: ChangeBuffer) -> None:
        buffer.followers -= 1
        if buffer.followers or self._buffers.get(followed) is not buffer:
            return
        loop = asyncio.get_running_loop()
        buffer.left_at = loop.time()
        loop.call_later(limits.changes_idle_s, self._expire, followed, buffer, buffer.left_at)
        idle = [name for name, each in self._buffers.items() if not each.followers]
        if len(idle) > limits.changes_idle_projects_max:
            oldest = min(idle, key=lambda name: self._buffers[name].left_at)
            self._drop(oldest, self._buffers[oldest])

    def _expire(self, followed: _Followed, buffer: ChangeBuffer, left_at: float) -> None:
        if not buffer.followers and buffer.left_at == left_at and self._buffers.get(followed) is buffer:
            self._drop(followed, buffer)

    def _drop(self, followed: _Followed, buffer: ChangeBuffer) -> None:
        del self._buffers[followed]
        self._notifier.unlisten(followed[0], buffer.add)


async def _wait_for(changed: asyncio.Event, seconds: float) -> None:
    """Wait for the next change, at most `seconds`.

    No other task runs between the caller's read of the buffer and `clear`, so no change is missed.
    """
    changed.clear()
    await pause(changed, seconds)
