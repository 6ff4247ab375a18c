"""The event bus of a project: an event resumes the runs that wait for it, and starts runs by triggers.

An event is stored first. If the server stops before all runs have got it, a loop continues. A run gets it once: as a
signal with a key of the event, and a started run has an id of the event.
"""

import asyncio
import uuid
from typing import Any, NamedTuple

import msgspec
import structlog

from runstead.commands import triggers
from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.commands.runs import apply_at
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.errors import Error, invalid_at
from runstead.core.identity.principal import Principal, Scope
from runstead.core.identity.tenant import tenant
from runstead.core.runs import bus_event as rules, transitions
from runstead.core.runs.bus_event import BusEvent, EventWait
from runstead.core.runs.event_match import matches
from runstead.core.runs.run import Run
from runstead.core.runs.signal import WantedSignals
from runstead.core.runs.transition import Loaded, Transition, Want
from runstead.ports.store import RunKey

log = structlog.get_logger(__name__)

_deliver_ms = limits.bus_delivery_s * 1000


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to publish. `data` is JSON text. A repeat of the `id`, or of the `key`, publishes nothing."""

    name: str
    data: bytes = b"null"
    id: str | None = None
    key: str | None = None
    occurred_at: int | None = None


class Published(NamedTuple):
    """An event, how many runs it has resumed and started, and whether the request is a repeat. `pending`: other runs
    follow.
    """

    event_id: str
    resumed: int
    started: int
    duplicate: bool = False
    pending: bool = False


@needs(Scope.RUNS_WRITE, bound="cannot publish events")
async def publish(access: Access, new: NewEvent) -> Published:
    """Publish an event, and deliver it.

    A repeat continues a delivery that is not finished. Raises NOT_FOUND (project), FORBIDDEN, IDEMPOTENCY_KEY_REUSED for
    an id with another name or data; INVALID_REQUEST for data that is too large.
    """
    app, principal, project_id = access.app, access.principal, access.project_id
    if len(new.data) > limits.bus_event_data_bytes_max:
        most = limits.bus_event_data_bytes_max // limits.KIB
        raise invalid_at("$.data", f"The data of an event has at most {most} KiB of JSON")
    now, digest = now_ms(), rules.event_digest(new.name, new.data)
    event = BusEvent(
        project_id=project_id,
        event_id=new.id or _event_id(principal, project_id, new.key),
        name=new.name,
        data=new.data,
        digest=digest,
        occurred_at=new.occurred_at,
        created_at=now,
        kept_until=rules.kept_until(now, named=(new.id or new.key) is not None),
    )
    stored, is_new = await app.store.bus_events.add(event, _deliver_ms)
    if stored.digest != digest:
        used = "Idempotency-Key" if new.id is None else f"id {new.id}"
        raise Error(
            "IDEMPOTENCY_KEY_REUSED",
            f"The {used} was used for an event with another name or other data: use a new one for another event",
        )
    if stored.due_at is None:
        return Published(stored.event_id, stored.resumed, stored.started, duplicate=not is_new)
    done = await deliver(app, stored)
    resumed, started = stored.resumed + done.resumed, stored.started + done.started
    return Published(stored.event_id, resumed, started, duplicate=not is_new, pending=done.pending)


def _event_id(principal: Principal, project_id: str, key: str | None) -> str:
    """Return a new id, or the one that belongs to a key of this caller."""
    if key is None:
        return f"evt_{uuid.uuid4()}"
    name = f"{principal.identity}\n{key}"
    return f"evt_{uuid.uuid5(uuid.UUID(project_id), name)}"


async def deliver_due(app: App) -> int:
    """Continue a bounded number of deliveries that are not finished, each as the work of its project. Returns their
    number.
    """
    now, due = await app.store.bus_events.due(limits.bus_events_per_tick_max, _deliver_ms)
    for event in due:
        token = tenant.set(event.project_id)
        try:
            await deliver(app, event, gives_up=event.created_at + limits.bus_event_kept_s * 1000 <= now)
        finally:
            tenant.reset(token)
    return len(due)


class _Done(NamedTuple):
    """What a part of a delivery did. `pending`: it is to be repeated."""

    resumed: int = 0
    started: int = 0
    pending: bool = False


async def deliver(app: App, event: BusEvent, *, gives_up: bool = False) -> _Done:
    """Start runs by the event, and resume at most `limits.bus_event_resumes_max` waiting ones, which is safe to repeat.

    A start or resume that a quota or a busy store refuses is repeated later, unless the caller `gives_up`.
    """
    data = msgspec.json.decode(event.data or b"null")
    store, started = app.store.bus_events, await _start(app, event, data)
    resumed, pending = 0, started.pending
    for path in await store.paths(event.project_id, event.name):
        digest, after, more = rules.term_of(data, path), 0, True
        while digest is not None and more:
            page = await store.waits(event, path, digest, after, limits.bus_waits_per_page_max)
            found = await _resume(app, event, data, page)
            resumed, pending = resumed + found.resumed, pending or found.pending
            more = len(page) == limits.bus_waits_per_page_max
            if more:
                after = page[-1].number
                if resumed >= limits.bus_event_resumes_max:
                    await store.delay(event, resumed, started.started, 0)
                    return _Done(resumed, started.started, pending=True)
                await store.delay(event, 0, 0, _deliver_ms)
    if pending and not gives_up:
        await store.delay(event, resumed, started.started, _deliver_ms)
    else:
        if pending:
            log.warning("event was not delivered to all runs", event_id=event.event_id, name=event.name)
        await store.finish(event, resumed, started.started)
    return _Done(resumed, started.started, pending and not gives_up)


async def _start(app: App, event: BusEvent, data: Any) -> _Done:
    """Start a run for each trigger of the event that matches."""
    started, pending = 0, False
    for trigger in await app.store.triggers.by_event(event.project_id, event.name):
        if not matches(rules.match_in(trigger.event_match), data):
            continue
        try:
            run_id = rules.event_run_id(trigger.id, event.event_id)
            written = await triggers.start(app, trigger, run_id, event.data)
            started += not written.transition.duplicate
        except Error as error:
            pending = _again(event, error, trigger_id=trigger.id) or pending
    return _Done(started=started, pending=pending)


async def _resume(app: App, event: BusEvent, data: Any, waits: list[EventWait]) -> _Done:
    """Resume the runs with these waits that match, some at once."""
    matching = [wait for wait in waits if matches(rules.match_in(wait.match), data)]
    resumed, pending = 0, False
    for at in range(0, len(matching), limits.bus_resumes_at_once_max):
        part = matching[at : at + limits.bus_resumes_at_once_max]
        results = await asyncio.gather(*(_resume_one(app, event, data, wait) for wait in part))
        resumed += sum(each.resumed for each in results)
        pending = pending or any(each.pending for each in results)
    return _Done(resumed, pending=pending)


async def _resume_one(app: App, event: BusEvent, data: Any, wait: EventWait) -> _Done:
    signal = rules.signal_of(event, event.data or b"null")

    def rule(run: Run, loaded: Loaded) -> Transition:
        return transitions.deliver_event(
            run,
            signal,
            loaded.signals.sent,
            tool_call_id=wait.tool_call_id,
            data=data,
            occurred_at=event.occurred_at,
            now=loaded.now,
        )

    want = Want(signals=WantedSignals(sends=True, key=signal.key))
    try:
        written = await apply_at(app, RunKey(event.project_id, wait.run_id), rule, want)
    except Error as error:
        return _Done(pending=_again(event, error, run_id=wait.run_id))
    return _Done(resumed=int(not written.transition.duplicate))


def _again(event: BusEvent, error: Error, **about: str) -> bool:
    """Log why a run did not get the event. Returns whether it may get it later."""
    log.warning(
        "event was not delivered", event_id=event.event_id, code=error.code, reason=error.message, **about
    )
    return error.retry_after_s is not None
