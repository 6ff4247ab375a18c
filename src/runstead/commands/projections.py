"""Assistant messages: a run's log folded when somebody reads it, and kept while there is room."""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from runstead.core import limits
from runstead.core.conversations.conversation import MessageRun
from runstead.core.conversations.projection import MessageStatus, Projection
from runstead.core.runs.run import RunStatus
from runstead.ports.store import Store

_Name = tuple[int, int, RunStatus]


class Projected(NamedTuple):
    """`parts` is a JSON array. `truncated`: the log is longer than what one message reads of it. `cost`: the bytes
    that were read for it, at least those of its parts.
    """

    status: MessageStatus
    parts: bytes
    truncated: bool
    cost: int


class Projections:
    """The newest folds, at most `limits.message_cache_bytes_max` of parts. A fold belongs to a run at one event in
    one status, so it never grows stale: what has changed has another name.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[_Name, Projected] = OrderedDict()
        self.kept_bytes = 0

    async def of(self, run: MessageRun) -> Projected:
        """The message that a run's public events come to."""
        name = (run.seq, run.latest_event_id, run.status)
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            return kept._replace(cost=len(kept.parts))
        fold, read, truncated = await self.build(
            run.seq, run.latest_event_id, limits.message_projection_bytes_max
        )
        message = fold.message(run.status)
        parts = msgspec.json.encode(message.parts)
        folded = Projected(message.status, parts, truncated, max(read, len(parts)))
        self._keep(name, folded)
        return folded

    async def build(
        self, run_seq: int, latest_event_id: int, bytes_max: int | None = None
    ) -> tuple[Projection, int, bool]:
        """The public events up to a number, folded page by page; how many bytes of them were read, and whether some
        are left since that was more than `bytes_max`.
        """
        fold, after, read = Projection(), 0, 0
        while after < latest_event_id:
            if bytes_max is not None and read >= bytes_max:
                return fold, read, True
            events = await self._store.runs.events(
                run_seq, after, limits.event_rows_max, limits.event_page_bytes_max
            )
            # What came after the run was read belongs to the stream: the status would not fit it.
            events = [event for event in events if event.event_id <= latest_event_id]
            if not events:  # what is left is private
                break
            for event in events:
                fold.add(event)
                read += len(event.payload)
            after = events[-1].event_id
        return fold, read, False

    def _keep(self, name: _Name, folded: Projected) -> None:
        if name in self._kept:  # two readers at once
            return
        self._kept[name] = folded
        self.kept_bytes += len(folded.parts)
        while self.kept_bytes > limits.message_cache_bytes_max:
            _, dropped = self._kept.popitem(last=False)
            self.kept_bytes -= len(dropped.parts)
