"""The channels of workers: hints about their runs, from the change notifications of their projects.

A hint may be lost. A worker learns everything from its claims and renewals too, only later. All channels of a project
share one listener, which finds the channel of an attempt by its worker.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, Literal, get_args

import msgspec

from runstead.core import limits
from runstead.core.change import Change
from runstead.core.queue.worker import Worker
from runstead.ports.notifier import Notifier, worker_key

HintType = Literal["run_available", "run_cancelled", "run_paused", "worker_draining", "resync"]
HINT_TYPES: Final[tuple[HintType, ...]] = get_args(HintType)
_STOPS: Final[dict[str, HintType]] = {"cancel": "run_cancelled", "pause": "run_paused"}


class Hint(msgspec.Struct, frozen=True):
    """A hint for a worker. `resync`: some may have been lost, so it renews its leases."""

    type: HintType
    run_id: str | None = None
    attempt: int | None = None
    targets: tuple[str, ...] | None = None


class _Channel:
    """The hints that one open channel has not sent. The notifier calls `set` where the worker may be gone."""

    def __init__(self, wanted: Collection[HintType]) -> None:
        self.wanted = frozenset(wanted)
        self.may_be_gone = False
        self._changed = asyncio.Event()
        self._stops: (
            dict[tuple[str | None, int | None], Hint] | None
        ) = {}  # None: too many, or some were lost
        self._targets: set[str] = set()
        self._has_runs = False
        self._targets_from = 0.0  # loop time of the next `run_available`

    def set(self) -> None:
        self.may_be_gone = True
        self._changed.set()

    def stop(self, hint: Hint) -> None:
        if hint.type in self.wanted and self._stops is not None:
            self._stops[hint.run_id, hint.attempt] = hint
            if len(self._stops) > limits.channel_stops_max:
                self._stops = None
            self._changed.set()

    def resync(self) -> None:
        self._stops = None
        self._changed.set()

    def make_available(self, target: str) -> None:
        self._has_runs = True
        if target and len(self._targets) < limits.channel_targets_max:
            self._targets.add(target)
        self._changed.set()

    def take(self, now: float) -> list[Hint]:
        """Return the hints to send now. Those about available runs are collected for `limits.change_interval_s`."""
        found = [Hint("resync")] if self._stops is None else list(self._stops.values())
        self._stops = {}
        if self._has_runs and now >= self._targets_from:
            found.append(Hint("run_available", targets=tuple(sorted(self._targets))))
            self._has_runs = False
            self._targets.clear()
            self._targets_from = now + limits.change_interval_s
        return found

    async def wait(self, until: float) -> None:
        """Wait for a change, until this loop time at the latest.

        No other task runs between the caller's `take` and `clear`, so no hint is missed.
        """
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(min(until, self._targets_from) if self._has_runs else until):
                await self._changed.wait()


class _Project:
    """The open channels of a project. `add` is their listener."""

    def __init__(self) -> None:
        self.channels: dict[str, set[_Channel]] = defaultdict(set)  # by worker
        self.of_available_runs: set[_Channel] = set()

    def add(self, changes: Sequence[Change] | None) -> None:
        if changes is None:
            for channels in self.channels.values():
                for channel in channels:
                    channel.resync()
            return
        for change in changes:
            if (stopped := change.stopped) is not None:
                for channel in self.channels.get(stopped.worker_id, ()):
                    channel.stop(Hint(_STOPS[stopped.by], change.run_id, stopped.attempt))
            if change.target is not None:
                for channel in self.of_available_runs:
                    channel.make_available(change.target)


class WorkerChannels:
    """The open channels of this process."""

    def __init__(self, notifier: Notifier, stopping: asyncio.Event) -> None:
        self._notifier = notifier
        self._stopping = stopping
        self._projects: dict[str, _Project] = {}

    async def follow(
        self,
        worker: Worker,
        is_gone: Callable[[], Awaitable[bool]],
        wanted: Collection[HintType] = HINT_TYPES,
    ) -> AsyncGenerator[list[Hint], None]:
        """Yield the hints for a worker until the server stops or the worker is removed. An empty list is a heartbeat."""
        channel, loop = _Channel(wanted), asyncio.get_running_loop()
        self._enter(worker, channel)
        try:
            yield []
            quiet_until = loop.time() + limits.stream_heartbeat_s
            while not self._stopping.is_set():
                if channel.may_be_gone:
                    channel.may_be_gone = False
                    if await is_gone():
                        yield [Hint("worker_draining")]
                        return
                hints = channel.take(loop.time())
                if not hints and loop.time() < quiet_until:
                    await channel.wait(quiet_until)
                    continue
                yield hints
                quiet_until = loop.time() + limits.stream_heartbeat_s
        finally:
            self._leave(worker, channel)

    def _enter(self, worker: Worker, channel: _Channel) -> None:
        project = self._projects.get(worker.project_id)
        if project is None:
            project = self._projects[worker.project_id] = _Project()
            self._notifier.listen(worker.project_id, project.add)
        project.channels[worker.id].add(channel)
        if "run_available" in channel.wanted:
            project.of_available_runs.add(channel)
        self._notifier.attach(worker_key(worker.id), channel)

    def _leave(self, worker: Worker, channel: _Channel) -> None:
        self._notifier.detach(worker_key(worker.id), channel)
        project = self._projects[worker.project_id]
        project.of_available_runs.discard(channel)
        project.channels[worker.id].discard(channel)
        if not project.channels[worker.id]:
            del project.channels[worker.id]
        if not project.channels:
            del self._projects[worker.project_id]
            self._notifier.unlisten(worker.project_id, project.add)
