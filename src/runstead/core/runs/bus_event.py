"""Events of a project's bus: each wakes the runs that wait for it when it is published, and starts runs by triggers."""

import hashlib
import uuid
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.runs.event_match import Match, digest_at, value_digest
from runstead.core.runs.run import Run
from runstead.core.runs.signal import Signal, awaited_in


class BusEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A published event. Times in ms; engines store the fields as columns.

    `data` is JSON text, and None once the event is delivered. `digest` is one of name and data. Until `kept_until` a
    repeat of the id publishes nothing. It is delivered to the waits up to the number `last_wait`. At `due_at` a server
    continues a delivery that another has not finished; None: it is finished.
    """

    project_id: str
    event_id: str
    name: str
    data: bytes | None
    digest: bytes
    occurred_at: int | None
    created_at: int
    kept_until: int
    last_wait: int = 0
    due_at: int | None = None
    resumed: int = 0
    started: int = 0

    def at(self, now: int, *, last_wait: int | None, due_at: int | None) -> "BusEvent":
        """Return the event as it is stored at a time of the store's clock. `last_wait`: None if no run waits for it and
        no trigger starts one, so that its delivery is finished.
        """
        return replace(
            self,
            created_at=now,
            kept_until=self.kept_until + now - self.created_at,
            last_wait=last_wait or 0,
            due_at=due_at,
            data=None if last_wait is None else self.data,
        )


class EventWait(msgspec.Struct, frozen=True, kw_only=True):
    """A run that waits for an event of the bus. Engines number waits in order, from 1 (0: not stored yet).

    `path` and `digest` are the first condition of the match, by which waits are found; "" and b"" without a match.
    `match` is the whole match as JSON text.
    """

    number: int = 0
    project_id: str
    name: str
    path: str
    digest: bytes
    run_seq: int
    run_id: str
    tool_call_id: str | None = None
    match: bytes | None = None


_match: Final = msgspec.json.Decoder(Match | None).decode


def match_in(stored: bytes | None) -> dict[str, Any] | None:
    return None if stored is None else _match(stored)


def event_waits(run: Run) -> Iterator[EventWait]:
    """Return the waits of a run: one for each event that it awaits."""
    for awaited in awaited_in(run.waiting_events):
        path, value = next(iter((awaited.match or {}).items()), ("", None))
        yield EventWait(
            project_id=run.project_id,
            name=awaited.name,
            path=path,
            digest=value_digest(value) if path else b"",
            run_seq=run.seq,
            run_id=run.run_id,
            tool_call_id=awaited.tool_call_id,
            match=msgspec.json.encode(awaited.match) if awaited.match else None,
        )


def term_of(data: Any, path: str) -> bytes | None:
    """Return the digest by which the waits with this first path are found for an event's data. None: none matches."""
    return b"" if path == "" else digest_at(data, path)


def event_digest(name: str, data: bytes) -> bytes:
    return hashlib.sha256(msgspec.json.encode([name, msgspec.Raw(data)])).digest()


def event_run_id(trigger_id: str, event_id: str) -> str:
    """Return the id of the run that a trigger starts for an event: the same each time."""
    return f"run_{uuid.uuid5(uuid.UUID(trigger_id), f'event:{event_id}')}"


def signal_of(event: BusEvent, data: bytes) -> Signal:
    """Return the signal that brings the event to a run. Its key makes it one for the run; no caller can use the key."""
    return Signal(
        number=0,
        id=event.event_id,
        name=event.name,
        payload=data,
        created_at=event.created_at,
        key=f"\x1f{event.event_id}",
        digest=event.digest,
    )


def kept_until(now: int, *, named: bool) -> int:
    """Return until when a published event is kept. `named`: the caller gave its id."""
    return now + limits.bus_event_kept_s * 1000 if named else now
