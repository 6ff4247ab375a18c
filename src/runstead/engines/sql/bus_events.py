"""The event bus: published events, and the waits of runs for them."""

from collections.abc import Sequence
from typing import Any

from runstead.core.runs.bus_event import BusEvent, EventWait
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import SqlNoun, command, quick_command
from runstead.engines.sql.steps import Steps, execute, execute_many, first, select, value, values


class SqlBusEvents(SqlNoun):
    @quick_command
    def add(self, now: int, event: BusEvent, deliver_ms: int) -> Steps[tuple[BusEvent, bool]]:
        last = yield from value("last_wait_of_event", project_id=event.project_id, name=event.name)
        new = event.at(now, last_wait=last, due_at=None if last is None else now + deliver_ms)
        if (yield from execute("add_bus_event", new)):
            return new, True
        found = yield from first("bus_event", BusEvent, project_id=event.project_id, event_id=event.event_id)
        assert found is not None
        return found, False

    async def paths(self, project_id: str, name: str) -> list[str]:
        return await self._database.read(values, "event_wait_paths", project_id=project_id, name=name)

    async def waits(
        self, event: BusEvent, path: str, digest: bytes, after: int, limit: int
    ) -> list[EventWait]:
        return await self._database.read(
            select,
            "event_waits",
            EventWait,
            project_id=event.project_id,
            name=event.name,
            path=path,
            digest=digest,
            after=after,
            last_wait=event.last_wait,
            limit=limit,
        )

    async def delay(self, event: BusEvent, resumed: int, started: int, deliver_ms: int) -> None:
        await self._database.write(
            lambda now: execute_many(
                "delay_bus_event", [_delivered(event, resumed, started, now + deliver_ms)]
            ),
            quick=True,
        )

    async def finish(self, event: BusEvent, resumed: int, started: int) -> None:
        await self._database.write(
            lambda _now: execute_many("finish_bus_event", [_delivered(event, resumed, started, None)]),
            quick=True,
        )

    @command
    def due(self, now: int, limit: int, deliver_ms: int) -> Steps[tuple[int, list[BusEvent]]]:
        found = yield from select("due_bus_events", BusEvent, now=now, limit=limit)
        yield from execute_many(
            "delay_bus_event", [_delivered(each, 0, 0, now + deliver_ms) for each in found]
        )
        return now, found

    async def prune(self, limit: int) -> int:
        return await self._database.write(lambda now: execute("prune_bus_events", now=now, limit=limit))


def _delivered(event: BusEvent, resumed: int, started: int, due_at: int | None) -> dict[str, Any]:
    return {
        "project_id": event.project_id,
        "event_id": event.event_id,
        "resumed": resumed,
        "started": started,
        "due_at": due_at,
    }


def move_waits(run_seqs: Sequence[int], waits: Sequence[EventWait]) -> Steps[None]:
    """Replace the waits of these runs, in the transaction that changes what the runs await."""
    yield from execute_many("drop_event_waits", [{"run_seq": seq} for seq in run_seqs])
    yield from execute_many("add_event_wait", [fields(each) for each in waits])
