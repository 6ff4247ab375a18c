"""Hints that also reach the other replicas: what every carrier (PostgreSQL, NATS) has in common.

Whoever follows in this process is woken at once. For the others, keys are collected while a message is on its way, and
leave together with the next: thousands of commits a second are a few hundred messages. While the carrier is away, hints
are lost, which delays those who wait for them until they look by themselves; once it is back, everybody looks.
"""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, suppress

import structlog

from runstead import limits
from runstead.notifier import Notifier

log = structlog.get_logger(__name__)


class Relay(ABC):
    """See `runstead.notifier.Notifier`. `local` wakes this process."""

    carrier: str
    """What logs call it."""

    def __init__(self, local: Notifier) -> None:
        self._local = local
        self._name = secrets.token_hex(8)
        self._pending: dict[str, None] = {}
        self._stir = asyncio.Event()
        self._lost = asyncio.Event()
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start to carry. A carrier that is not there yet holds nobody up."""
        self._task = asyncio.ensure_future(self._run())
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.connect_s):
                await self._up.wait()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def publish(self, keys: Iterable[str]) -> None:
        told = list(keys)
        self._local.publish(told)
        if told and len(self._pending) < limits.hints_kept_max:
            self._pending.update(dict.fromkeys(told))
            self._stir.set()

    def wake_all(self) -> None:
        self._local.wake_all()

    def subscribe(self, key: str) -> AbstractContextManager[asyncio.Event]:
        return self._local.subscribe(key)

    @abstractmethod
    async def _carry(self) -> None:
        """Connect, tell `_joined`, then `_send` until the connection is lost; leave nothing open."""

    def _joined(self) -> None:
        """Connected: what was told before may have been missed."""
        self._lost.clear()
        self._up.set()
        self._local.wake_all()

    def _lose(self, *_: object) -> None:
        """The connection is gone."""
        self._lost.set()
        self._stir.set()

    def _hear(self, message: str) -> None:
        """Hints from any replica; one's own come back too."""
        sender, *keys = message.split("\n")
        if sender != self._name:
            self._local.publish(keys)

    async def _send(
        self, send: Callable[[str], Awaitable[object]], is_alive: Callable[[], Awaitable[object]]
    ) -> None:
        """Send what is published, and see now and then whether anybody is there, until the connection is lost."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(limits.hint_silence_s):
                    await self._stir.wait()
            except TimeoutError:
                await is_alive()
                continue
            self._stir.clear()
            while self._pending and not self._lost.is_set():
                keys = self._take()
                try:
                    await send("\n".join([self._name, *keys]))
                except BaseException:
                    self._pending.update(dict.fromkeys(keys))
                    raise
            await asyncio.sleep(limits.hint_pause_s)

    def _take(self) -> list[str]:
        """As many keys as one message holds. Taken before it leaves: what is published meanwhile needs another."""
        keys: list[str] = []
        size = len(self._name)
        for key in self._pending:
            size += 1 + len(key.encode())
            if keys and size > limits.hint_payload_bytes_max:
                break
            keys.append(key)
        for key in keys:
            del self._pending[key]
        return keys

    async def _run(self) -> None:
        pause = 0.1
        while True:
            self._up.clear()
            try:
                await self._carry()
            except Exception as trouble:  # noqa: BLE001 - whatever it is, it is tried again
                log.warning("hints reach no other replica", carrier=self.carrier, reason=str(trouble))
            if self._up.is_set():
                pause = 0.1
            await asyncio.sleep(pause)
            pause = min(pause * 2, limits.reconnect_s_max)
