"""A queue of commands that is fair between projects when it is long, and costs nothing more when it is short."""

import asyncio
from collections import OrderedDict, deque
from typing import Any, NamedTuple


class Waiting(NamedTuple):
    """A command, the future of its caller, and since when it waits (the event loop's time)."""

    command: Any
    future: asyncio.Future[Any]
    since: float


class FairQueue:
    """Returns commands in the order of their arrival. When more wait than one group takes, projects take turns."""

    def __init__(self) -> None:
        self._arrived: deque[Waiting] = deque()
        self._backlog: OrderedDict[str, deque[Waiting]] = OrderedDict()  # by project, the next one first
        self._in_backlog = 0

    def __len__(self) -> int:
        return self._in_backlog + len(self._arrived)

    def put(self, waiting: Waiting) -> None:
        self._arrived.append(waiting)

    def since(self) -> float:
        """Return since when the first command waits. The queue is not empty."""
        first = next(iter(self._backlog.values())) if self._backlog else self._arrived
        return first[0].since

    def take(self, most: int) -> list[Waiting]:
        """Remove and return at most so many commands."""
        arrived, backlog = self._arrived, self._backlog
        if not backlog and len(arrived) <= most:
            taken = list(arrived)
            arrived.clear()
            return taken
        for waiting in arrived:
            backlog.setdefault(waiting.command.project_id, deque()).append(waiting)
        self._in_backlog += len(arrived)
        arrived.clear()
        taken = []
        while backlog and len(taken) < most:
            project_id, commands = next(iter(backlog.items()))
            taken.append(commands.popleft())
            if commands:
                backlog.move_to_end(project_id)
            else:
                del backlog[project_id]
        self._in_backlog -= len(taken)
        return taken
