"""Assistant messages, projected from the events of their runs on read, and cached."""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from runstead.core import limits
from runstead.core.conversations.conversation import MessageRun
from runstead.core.conversations.projection import MessageStatus, Projection
from runstead.core.runs.run import RunStatus
from runstead.ports.store import Store

_Key = tuple[int, int, RunStatus]


class Projected(NamedTuple):
    """A projected message. `parts` is a JSON array.

    `cost` is the number of bytes read, at least those of the parts.

    `truncated`: the log is longer than the part that one message reads.
    """

    status: MessageStatus
    parts: bytes
    truncated: bool
    cost: int


class Projections:
    """A cache of projected messages with at most `limits.message_cache_bytes_max` of parts.

    The key of an entry is a run at one event in one status, so an entry is never stale.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: OrderedDict[_Key, Projected] = OrderedDict()
        self.cached_bytes = 0

    async def of(self, run: MessageRun) -> Projected:
        """Return the message of a run's public events."""
        key = (run.seq, run.latest_event_id, run.status)
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.move_to_end(key)
            return cached._replace(cost=len(cached.parts))
        projection, read, truncated = await self.build(
            run.seq, run.latest_event_id, limits.message_projection_bytes_max
        )
        message = projection.message(run.status)
        parts = msgspec.json.encode(message.parts)
        projected = Projected(message.status, parts, truncated, max(read, len(parts)))
        self._store_in_cache(key, projected)
        return projected

    async def build(
        self, run_seq: int, latest_event_id: int, bytes_max: int | None = None
    ) -> tuple[Projection, int, bool]:
        """Project the public events up to an event id, page by page.

        Returns the projection, the number of bytes read, and whether it stopped at `bytes_max`.
        """
        projection, after, read = Projection(), 0, 0
        while after < latest_event_id:
            if bytes_max is not None and read >= bytes_max:
                return projection, read, True
            events = await self._store.runs.events(
                run_seq, after, limits.event_rows_max, limits.event_page_bytes_max
            )
            # Later events belong to the stream: they may not match the status that was read.
            events = [event for event in events if event.event_id <= latest_event_id]
            if not events:  # all later events are private
                break
            for event in events:
                projection.add(event)
                read += len(event.payload)
            after = events[-1].event_id
        return projection, read, False

    def _store_in_cache(self, key: _Key, projected: Projected) -> None:
        if key in self._cache:  # another reader stored it meanwhile
            return
        self._cache[key] = projected
        self.cached_bytes += len(projected.parts)
        while self.cached_bytes > limits.message_cache_bytes_max:
            _, dropped = self._cache.popitem(last=False)
            self.cached_bytes -= len(dropped.parts)
