"""Hints that also reach the other replicas: what every carrier (PostgreSQL, NATS) has in common.

Whoever follows in this process is woken at once. For the others, keys are collected while a message is on its way, and
leave together with the next: thousands of commits a second are a few hundred messages. While the carrier is away, hints
are lost, which delays those who wait for them until they look by themselves; once it is back, everybody looks.

Hints about a project are not merged: each comes once, in the order in which its replica told them. Where some cannot be
carried, every listener of every replica gets None instead of them, as soon as that can be told. Two replicas may write
to one run within milliseconds and be heard in the wrong order: an update that says less than what was heard already is
left out.

A carrier that can know that no other replica listens sends nothing meanwhile (`_fall_silent`). A replica that joins
greets the others; one that was silent has everybody look, and sends from then on (docs/decisions/0022).
"""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Final

import msgspec
import structlog

from runstead.core import limits
from runstead.core.change import Change
from runstead.ports.notifier import Listener, Notifier, Signal

log = structlog.get_logger(__name__)


class _Told(msgspec.Struct, frozen=True, array_like=True):
    """A hint about a project, as a line of a message. Without a hint: some were lost."""

    project_id: str
    hint: Change | None = None


_MARK: Final = "!"  # of such a line; keys begin with a word
_LOST: Final = f"{_MARK}*"
"""The line that says that hints were lost, or not sent: whoever follows anything looks."""
_GREETING: Final = f"{_MARK}?"
"""The line with which a replica says that it hears from now on."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Told).decode


class _Seen:
    """How late the newest change of each run was that has been heard of, for as many runs as there is room."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str], int] = {}

    def is_old(self, told: _Told) -> bool:
        hint = told.hint
        if hint is None or hint.run_id is None:
            return False
        name = told.project_id, hint.run_id
        latest = self._at.pop(name, hint.at)
        self._at[name] = max(latest, hint.at)
        if len(self._at) > limits.notifications_kept_max:
            del self._at[next(iter(self._at))]
        return hint.at < latest and hint.type == "run.updated"


class Relay(ABC):
    """See `runstead.ports.notifier.Notifier`. `local` wakes this process."""

    carrier: str
    """What logs call it."""

    def __init__(self, local: Notifier) -> None:
        self._local = local
        self._name = secrets.token_hex(8)
        self._pending: dict[str, None] = {}
        self._told: deque[str] = deque()  # lines
        self._owed = False  # hints that may not have arrived
        self._carried = False  # some over this connection
        self._alone = False  # nothing is sent, since nobody would hear it
        self._greetings = 0
        self._listeners: dict[str, list[Listener]] = {}
        self._seen = _Seen()
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
        if told and not self._alone and len(self._pending) < limits.notifications_kept_max:
            self._pending.update(dict.fromkeys(told))
            self._stir.set()

    def wake_all(self) -> None:
        self._local.wake_all()

    def subscribe(self, *keys: str) -> AbstractContextManager[asyncio.Event]:
        return self._local.subscribe(*keys)

    def attach(self, key: str, signal: Signal) -> None:
        self._local.attach(key, signal)

    def detach(self, key: str, signal: Signal) -> None:
        self._local.detach(key, signal)

    def has_listeners(self, project_id: str) -> bool:
        """Other replicas may have listeners of any project."""
        return not self._alone or project_id in self._listeners

    def publish_changes(self, project_id: str, hints: Sequence[Change]) -> None:
        for hint in hints:
            told = _Told(project_id, hint)
            self._deliver(told)
            if self._alone:
                continue
            if len(self._told) >= limits.notifications_kept_max:
                self._told.clear()
                self._owed = True
            line = _line(told)
            if len(line.encode()) > limits.notification_payload_bytes_max:
                line = _line(_Told(project_id))
            self._told.append(line)
        if hints and not self._alone:
            self._stir.set()

    def listen(self, project_id: str, listener: Listener) -> None:
        self._listeners.setdefault(project_id, []).append(listener)

    def unlisten(self, project_id: str, listener: Listener) -> None:
        listeners = self._listeners.get(project_id, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._listeners.pop(project_id, None)

    def _deliver(self, told: _Told) -> None:
        """To this process."""
        listeners = self._listeners.get(told.project_id)
        if listeners and not self._seen.is_old(told):
            for listener in tuple(listeners):
                listener(None if told.hint is None else [told.hint])

    def _miss(self) -> None:
        """Hints were lost, and nobody knows which."""
        for listeners in list(self._listeners.values()):
            for listener in tuple(listeners):
                listener(None)

    @abstractmethod
    async def _carry(self) -> None:
        """Connect, tell `_joined`, then `_send` until the connection is lost; leave nothing open."""

    def _joined(self) -> None:
        """Connected: what was told before may have been missed."""
        self._lost.clear()
        self._up.set()
        self._local.wake_all()
        self._miss()
        # The last ones over the connection before may have been lost with it.
        self._owed, self._carried = self._owed or self._carried, False

    def _lose(self, *_: object) -> None:
        """The connection is gone."""
        self._lost.set()
        self._stir.set()

    def _fall_silent(self) -> None:
        """No other replica hears: what waits to be sent is for nobody. Only for a carrier over which the greeting of
        every replica that joins arrives.
        """
        self._alone = True
        self._pending.clear()
        self._told.clear()
        self._owed = self._carried = False

    def _speak(self) -> None:
        """Another replica may hear from now on. It may have joined since long before a change of which nothing was
        sent, so it has to look.
        """
        if self._alone:
            self._alone = False
            self._owed = True
            self._stir.set()

    def _hear(self, message: str) -> None:
        """Hints from any replica; one's own come back too."""
        sender, *lines = message.split("\n")
        if sender == self._name:
            return
        self._local.publish(line for line in lines if not line.startswith(_MARK))
        for line in lines:
            if line == _LOST:
                self._local.wake_all()
                self._miss()
            elif line == _GREETING:
                self._greetings += 1
                self._speak()
            elif line.startswith(_MARK):
                self._deliver(_decode(line.removeprefix(_MARK)))

    def _greeting(self) -> str:
        return f"{self._name}\n{_GREETING}"

    async def _send(
        self, send: Callable[[str], Awaitable[object]], is_alive: Callable[[], Awaitable[object]]
    ) -> None:
        """Send what is published, and see now and then whether anybody is there, until the connection is lost."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(limits.notification_silence_s):
                    await self._stir.wait()
            except TimeoutError:
                await is_alive()
                continue
            self._stir.clear()
            while (self._pending or self._told or self._owed) and not self._lost.is_set():
                keys, told = self._take()
                try:
                    await send("\n".join([self._name, *told, *keys]))
                except BaseException:
                    self._pending.update(dict.fromkeys(keys))
                    self._owed = self._owed or bool(told)  # they may have arrived: twice would be worse
                    raise
                self._carried = self._carried or bool(told)
            await asyncio.sleep(limits.notification_pause_s)

    def _take(self) -> tuple[list[str], list[str]]:
        """As many keys and hints as one message holds. Taken before it leaves: what is published meanwhile needs
        another.
        """
        keys: list[str] = []
        told: list[str] = []
        size = len(self._name)
        if self._owed:
            self._owed = False
            told.append(_LOST)
            size += 1 + len(_LOST)
        for key in self._pending:
            size += 1 + len(key.encode())
            if keys and size > limits.notification_payload_bytes_max:
                return self._taken(keys), told
            keys.append(key)
        while self._told:
            size += 1 + len(self._told[0].encode())
            if (keys or told) and size > limits.notification_payload_bytes_max:
                break
            told.append(self._told.popleft())
        return self._taken(keys), told

    def _taken(self, keys: list[str]) -> list[str]:
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


def _line(told: _Told) -> str:
    return _MARK + _encode(told).decode()
