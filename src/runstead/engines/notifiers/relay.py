"""Notifications that also reach the other replicas: the common part of the carriers PostgreSQL and NATS.

Subscribers in this process are woken at once. For other replicas, keys are collected while a message is being sent,
and share the next one: thousands of commits per second become a few hundred messages. While the carrier is down,
notifications are lost, and subscribers depend on polling. When it is back, all subscribers are woken.

Changes of a project are not merged: each arrives once, in the order in which its replica published them. If some
cannot be sent, every listener of every replica receives None instead, as soon as possible. Changes of one run from two
replicas may arrive in the wrong order, so an update older than the latest one of its run is dropped.

A carrier that can detect other listeners sends nothing while there are none (`_stop_sending`). A replica that joins
sends a greeting; a replica that had stopped then requests a resync and sends again (docs/decisions/0022).
"""

import asyncio
import random
import secrets
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import msgspec
import structlog

from runstead.core import limits
from runstead.core.change import Change
from runstead.engines.notifiers.local import Listeners
from runstead.ports.notifier import Notifier, pause

log = structlog.get_logger(__name__)


class _ProjectChange(msgspec.Struct, frozen=True, array_like=True):
    """A change of a project, as a line of a message. None: changes were lost."""

    project_id: str
    change: Change | None = None


_PREFIX: Final = "!"  # of a line that is not a key
_LOST: Final = f"{_PREFIX}*"
"""The line that reports lost or unsent notifications: all subscribers are woken, all listeners resync."""
_GREETING: Final = f"{_PREFIX}?"
"""The line that a replica sends when it begins to listen."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_ProjectChange).decode


class _LatestChanges:
    """The time of the latest change of each run, for at most `limits.notifications_kept_max` runs."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str], int] = {}

    def is_outdated(self, project_id: str, change: Change | None) -> bool:
        if change is None or change.run_id is None:
            return False
        run = project_id, change.run_id
        latest = self._at.pop(run, change.at)
        self._at[run] = max(latest, change.at)
        if len(self._at) > limits.notifications_kept_max:
            del self._at[next(iter(self._at))]
        return change.at < latest and change.type == "run.updated"


class Relay(Listeners, ABC):
    """See `runstead.ports.notifier.Notifier`. `local` wakes this process."""

    carrier: str
    """Its name in logs."""

    def __init__(self, local: Notifier) -> None:
        super().__init__()
        self._local = local
        self.wake_all, self.subscribe = local.wake_all, local.subscribe
        self.attach, self.detach = local.attach, local.detach
        self._name = secrets.token_hex(8)
        self._pending: dict[str, None] = {}
        self._changes: deque[str] = deque()  # lines to send
        self._resync_due = False  # changes may not have arrived
        self._changes_sent = False  # over this connection
        self._only_replica = False  # then nothing is sent
        self._greetings = 0
        self._latest = _LatestChanges()
        self._has_work = asyncio.Event()
        self._disconnected = asyncio.Event()
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect in the background, and wait at most `limits.connect_s` for it."""
        self._task = asyncio.ensure_future(self._run())
        await pause(self._connected, limits.connect_s)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def publish(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        self._local.publish(keys)
        if keys and not self._only_replica and len(self._pending) < limits.notifications_kept_max:
            self._pending.update(dict.fromkeys(keys))
            self._has_work.set()

    def has_listeners(self, project_id: str) -> bool:
        """Other replicas may have listeners of any project."""
        return not self._only_replica or super().has_listeners(project_id)

    def publish_changes(self, project_id: str, changes: Sequence[Change]) -> None:
        for change in changes:
            self._notify_listeners(project_id, change)
            if self._only_replica:
                continue
            if len(self._changes) >= limits.notifications_kept_max:
                self._changes.clear()
                self._resync_due = True
            line = _line(project_id, change)
            if len(line.encode()) > limits.notification_payload_bytes_max:
                line = _line(project_id, None)
            self._changes.append(line)
        if changes and not self._only_replica:
            self._has_work.set()

    def _notify_listeners(self, project_id: str, change: Change | None) -> None:
        """Notify the listeners of this process."""
        listeners = self._listeners.get(project_id)
        if listeners and not self._latest.is_outdated(project_id, change):
            for listener in tuple(listeners):
                listener(None if change is None else [change])

    def _request_resync(self) -> None:
        """Send None to all listeners: unknown changes were lost."""
        for listeners in list(self._listeners.values()):
            for listener in tuple(listeners):
                listener(None)

    @abstractmethod
    async def _connect_and_send(self) -> None:
        """Connect, call `_on_connected`, then `_send` until the connection is lost. Close everything at the end."""

    def _on_connected(self) -> None:
        """Wake all subscribers: notifications may have been missed before."""
        self._disconnected.clear()
        self._connected.set()
        self._local.wake_all()
        self._request_resync()
        # The last changes sent over the previous connection may have been lost.
        self._resync_due, self._changes_sent = self._resync_due or self._changes_sent, False

    def _on_disconnected(self, *_: object) -> None:
        """End `_send`: the connection is lost."""
        self._disconnected.set()
        self._has_work.set()

    def _stop_sending(self) -> None:
        """Discard pending notifications: no other replica listens. Only for a carrier that delivers the greeting of
        every replica that joins.
        """
        self._only_replica = True
        self._pending.clear()
        self._changes.clear()
        self._resync_due = self._changes_sent = False

    def _start_sending(self) -> None:
        """Send from now on: another replica may listen. Request a resync, since changes were not sent before."""
        if self._only_replica:
            self._only_replica = False
            self._resync_due = True
            self._has_work.set()

    def _receive(self, message: str) -> None:
        """Handle a message from any replica. Ignore messages from this one."""
        sender, *lines = message.split("\n")
        if sender == self._name:
            return
        self._local.publish(line for line in lines if not line.startswith(_PREFIX))
        for line in lines:
            if line == _LOST:
                self._local.wake_all()
                self._request_resync()
            elif line == _GREETING:
                self._greetings += 1
                self._start_sending()
            elif line.startswith(_PREFIX):
                decoded = _decode(line.removeprefix(_PREFIX))
                self._notify_listeners(decoded.project_id, decoded.change)

    def _greeting(self) -> str:
        return f"{self._name}\n{_GREETING}"

    async def _send(
        self, send: Callable[[str], Awaitable[object]], is_alive: Callable[[], Awaitable[object]]
    ) -> None:
        """Send notifications until the connection is lost. Check the connection after each silence."""
        while not self._disconnected.is_set():
            try:
                async with asyncio.timeout(limits.notification_silence_s):
                    await self._has_work.wait()
            except TimeoutError:
                await is_alive()
                continue
            self._has_work.clear()
            while (self._pending or self._changes or self._resync_due) and not self._disconnected.is_set():
                keys, lines = self._next_message()
                try:
                    await send("\n".join([self._name, *lines, *keys]))
                except BaseException:
                    self._pending.update(dict.fromkeys(keys))
                    self._resync_due = self._resync_due or bool(
                        lines
                    )  # they may have arrived: not sent twice
                    raise
                self._changes_sent = self._changes_sent or bool(lines)
            await asyncio.sleep(limits.notification_pause_s)

    def _next_message(self) -> tuple[list[str], list[str]]:
        """Remove and return the keys and change lines of the next message. A key that is published while this message
        is being sent needs another one.
        """
        keys: list[str] = []
        lines: list[str] = []
        size = len(self._name)
        if self._resync_due:
            self._resync_due = False
            lines.append(_LOST)
            size += 1 + len(_LOST)
        for key in self._pending:
            size += 1 + len(key.encode())
            if keys and size > limits.notification_payload_bytes_max:
                return self._remove_pending(keys), lines
            keys.append(key)
        while self._changes:
            size += 1 + len(self._changes[0].encode())
            if (keys or lines) and size > limits.notification_payload_bytes_max:
                break
            lines.append(self._changes.popleft())
        return self._remove_pending(keys), lines

    def _remove_pending(self, keys: list[str]) -> list[str]:
        for key in keys:
            del self._pending[key]
        return keys

    async def _run(self) -> None:
        pause = limits.reconnect_s_first
        while True:
            self._connected.clear()
            began = time.monotonic()
            try:
                await self._connect_and_send()
            except Exception as error:  # noqa: BLE001 - after any error it reconnects
                log.warning("notifications reach no other replica", carrier=self.carrier, reason=str(error))
            if self._connected.is_set() and time.monotonic() - began > limits.connected_s_min:
                pause = limits.reconnect_s_first
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            pause = min(pause * 2, limits.reconnect_s_max)


def _line(project_id: str, change: Change | None) -> str:
    return _PREFIX + _encode(_ProjectChange(project_id, change)).decode()
