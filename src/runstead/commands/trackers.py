"""What this process remembers between requests: who was active, what happened lately, and which projects have webhooks."""

import itertools
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from math import inf

from runstead.core import limits
from runstead.core.clock import elapsed_s


class ActivityTracker:
    """Ids that requests have shown to be active. A loop stores them in bounded groups."""

    def __init__(self, store: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._store = store
        self._ids: set[str] = set()

    def add(self, active_id: str) -> None:
        self._ids.add(active_id)

    async def flush(self) -> int:
        """Store up to `limits.seen_per_tick_max` ids. Returns their number."""
        ids = list(itertools.islice(self._ids, limits.seen_per_tick_max))
        if ids:
            self._ids.difference_update(ids)
            await self._store(ids)
        return len(ids)


class EventThrottle:
    """Allows an event at most `per_minute` times a minute, and counts those that it did not allow."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = elapsed_s) -> None:
        """`clock` in s."""
        self._per_minute = per_minute
        self._clock = clock
        self._minute = 0
        self._taken = 0
        self._omitted = 0

    def take(self) -> int | None:
        """Return how many were not allowed since the last one. None: this one is not allowed either."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._taken = minute, 0
        if self._taken >= self._per_minute:
            self._omitted += 1
            return None
        self._taken += 1
        omitted, self._omitted = self._omitted, 0
        return omitted


class Interval:
    """Allows each key once in so many seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = elapsed_s) -> None:
        """`clock` in s."""
        self._seconds = seconds
        self._clock = clock
        self._allowed_at: dict[Hashable, float] = {}

    def take(self, key: Hashable) -> bool:
        """Return whether the key is allowed now."""
        now = self._clock()
        if now - self._allowed_at.get(key, -inf) < self._seconds:
            return False
        if len(self._allowed_at) >= limits.interval_keys_max:
            self._allowed_at.clear()
        self._allowed_at[key] = now
        return True


class WebhookProjects:
    """The projects with webhooks that this process knows. A change of their runs wakes the delivery loop.

    Deliveries of other projects wait until the loop polls.
    """

    def __init__(self) -> None:
        self._ids: frozenset[str] = frozenset()

    def __contains__(self, project_id: str) -> bool:
        return project_id in self._ids

    def add(self, project_id: str) -> None:
        self._ids |= {project_id}

    def replace(self, project_ids: Iterable[str]) -> None:
        self._ids = frozenset(project_ids)
