"""Slots of calls to receivers that callers chose: many in total, few for each receiver, a fair share for each project."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from runstead.core.queue.fair_share import FairShare, fair_share


class CallSlots:
    """At most `most` calls at a time, and at most `per_receiver` to one receiver. `freed` is called when a call ends."""

    def __init__(self, most: int, per_receiver: int, freed: Callable[[], None]) -> None:
        self._most = most
        self._per_receiver = per_receiver
        self._freed = freed
        self._receivers: Counter[str] = Counter()
        self._projects: Counter[str] = Counter()
        self.tasks: dict[object, asyncio.Task[None]] = {}

    @property
    def free(self) -> int:
        return self._most - len(self.tasks)

    def share(self) -> FairShare:
        """Return how many calls may start now, and of which projects. A slot must be free."""
        busy = [name for name, n in self._receivers.items() if n >= self._per_receiver]
        return fair_share(self._most, dict(self._projects), busy)

    def start(self, key: object, receiver: str, project_id: str, call: Coroutine[Any, Any, None]) -> None:
        """Run the call in a task, as `tasks[key]` until it ends."""
        self._receivers[receiver] += 1
        self._projects[project_id] += 1
        task = asyncio.ensure_future(call)
        self.tasks[key] = task

        def done(_: asyncio.Task[None]) -> None:
            del self.tasks[key]
            for counter, name in ((self._receivers, receiver), (self._projects, project_id)):
                counter[name] -= 1
                if not counter[name]:
                    del counter[name]
            self._freed()

        task.add_done_callback(done)

    async def idle(self) -> None:
        """Wait until no call is in progress."""
        while self.tasks:
            await asyncio.wait(self.tasks.values())

    async def close(self, grace_s: float) -> None:
        """Wait `grace_s` for the calls to end, then cancel them."""
        if self.tasks:
            _, late = await asyncio.wait(self.tasks.values(), timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
