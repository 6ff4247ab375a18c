"""The event bus of each project."""

from typing import Protocol

from runstead.core.runs.bus_event import BusEvent, EventWait


class BusEvents(Protocol):
    """Engines store the waits of a run in the transaction that changes what the run awaits."""

    async def add(self, event: BusEvent, deliver_ms: int) -> tuple[BusEvent, bool]:
        """Store an event, due in `deliver_ms`, with the number of the last wait so far. Without waits for its name and
        triggers of its name its delivery is finished at once.

        Returns what is stored, and whether it is new: it is an earlier event if one of this id exists.
        """

    async def paths(self, project_id: str, name: str) -> list[str]:
        """Return the distinct first paths of the waits for this name. "": there are waits without a match."""

    async def waits(
        self, event: BusEvent, path: str, digest: bytes, after: int, limit: int
    ) -> list[EventWait]:
        """Return the waits for the event with this first condition, in order of their numbers: at most `limit` with a
        number greater than `after`, none that was added after the event.
        """

    async def delay(self, event: BusEvent, resumed: int, started: int, deliver_ms: int) -> None:
        """Count what was delivered, and make the event due in `deliver_ms`, unless its delivery is finished."""

    async def finish(self, event: BusEvent, resumed: int, started: int) -> None:
        """Count what was delivered, and end the delivery. The event's data is deleted."""

    async def due(self, limit: int, deliver_ms: int) -> tuple[int, list[BusEvent]]:
        """Return the time, and events whose delivery is not finished and due. They become due again in `deliver_ms`."""

    async def prune(self, limit: int) -> int:
        """Delete at most `limit` delivered events that need not be kept any longer. Returns their number."""
