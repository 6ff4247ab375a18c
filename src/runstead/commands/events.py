"""A run's log: appending, reading, following."""

from collections.abc import Sequence

import msgspec

from runstead.commands import runs
from runstead.commands.app import App
from runstead.commands.runs import Named
from runstead.core import limits
from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, for_appending, refuse_bound
from runstead.core.runs import append as rules
from runstead.core.runs.event import Event, NewEvent
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Want
from runstead.core.runs.transitions import Fence
from runstead.ports.store import FamilyPage, TypeCount, Written


class Batch(msgspec.Struct, frozen=True):
    """Events to append, and where the caller believes the log to stand."""

    events: tuple[NewEvent, ...]
    expected_event_id: int | None = None
    expected_sequence: int | None = None


async def append(
    app: App,
    principal: Principal,
    named: Named,
    batch: Batch,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Store the events after the last one, all or none; a repeat of what is stored adds nothing.

    EVENT_CURSOR_MISMATCH, EVENT_RUN_TERMINAL, EVENT_RUN_WAITING, EVENT_LOG_FULL, ATTEMPT_SUPERSEDED,
    IDEMPOTENCY_KEY_REUSED (an event's own key).
    """
    return await runs.apply(
        app,
        for_appending(principal, named.run_id),
        named,
        lambda run, loaded: rules.append(
            run,
            now=loaded.now,
            events=batch.events,
            expected_previous_event_id=batch.expected_event_id,
            expected_sequence=batch.expected_sequence,
            tail=loaded.tail,
            fence=fence,
            keys=loaded.event_keys,
        ),
        Want(
            expected_previous_event_id=batch.expected_event_id,
            event_keys=tuple(event.key for event in batch.events if event.key is not None),
        ),
        idempotency,
    )


async def page(
    app: App, principal: Principal, named: Named, after: int, limit: int, types: Sequence[str] = ()
) -> tuple[Run, list[Event], bool]:
    """Events after a number, in order, and whether more follow. A page may be shorter than `limit` where its
    events are large.
    """
    run = await runs.get(app, principal, named)
    found = await app.store.runs.events(run.seq, after, limit + 1, limits.event_page_bytes_max, types)
    more = len(found) > limit
    if not more and found and found[-1].event_id < run.latest_event_id:
        # The page was full of bytes, or what follows is private: only the store knows.
        rest = await app.store.runs.events(run.seq, found[-1].event_id, 1, None, types)
        more = bool(rest)
    return run, found[:limit], more


async def before(
    app: App, principal: Principal, named: Named, before: int, limit: int, types: Sequence[str] = ()
) -> tuple[Run, list[Event]]:
    """The last events below a number, in order. There may be more before them, even where there are fewer than `limit`."""
    run = await runs.get(app, principal, named)
    found = await app.store.runs.events_before(run.seq, before, limit, limits.event_page_bytes_max, types)
    return run, found


async def family_page(
    app: App, principal: Principal, run: Run, after: int, limit: int, types: Sequence[str] = ()
) -> FamilyPage:
    """Events of a run and of all below it after a position, in the order in which they were stored."""
    refuse_bound(principal, "reads no others")
    return await app.store.runs.family_events(run, after, limit, limits.event_page_bytes_max, types)


async def one(app: App, principal: Principal, named: Named, event_id: int) -> Event:
    """One public event. NOT_FOUND."""
    run = await runs.get(app, principal, named)
    found = await app.store.runs.event(run.seq, event_id)
    if found is None:
        raise not_found("Event")
    return found


async def summary(app: App, principal: Principal, named: Named) -> tuple[Run, list[TypeCount]]:
    """How many public events of each type the run's log holds, the most frequent type first."""
    run = await runs.get(app, principal, named)
    return run, await app.store.runs.event_counts(run.seq)
