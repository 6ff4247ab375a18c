"""A run's events: append and read."""

from collections.abc import Sequence

import msgspec

from runstead.commands import runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.errors import existing
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, for_appending, refuse_bound, writing
from runstead.core.runs import append as rules
from runstead.core.runs.event import Event, NewEvent
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Want
from runstead.core.runs.transitions import Fence, counted
from runstead.core.runs.values import NamedValue
from runstead.core.usage.usage import Reported
from runstead.ports.store import FamilyPage, TypeCount, Written


class EventAppend(msgspec.Struct, frozen=True):
    """Events to append, and the last event and sequence that the caller expects in the log."""

    events: tuple[NewEvent, ...]
    expected_previous_event_id: int | None = None
    expected_sequence: int | None = None


async def append(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    new: EventAppend,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Append the events, all or none. A repeat of stored events adds nothing.

    A worker's own token may append to the run that the worker holds: the fence checks it.

    Raises EVENT_RESERVED, EVENT_CURSOR_MISMATCH, EVENT_RUN_TERMINAL, EVENT_RUN_WAITING, EVENT_LOG_FULL, VALUES_FULL,
    ATTEMPT_SUPERSEDED, IDEMPOTENCY_KEY_REUSED (an event's own key).

    Usage that the events report counts for budgets, which may stop the run in the same transaction.
    """
    held = fence.worker is not None
    quotas = app.quotas
    keys, sets_values, spends = [], False, False
    for event in new.events:
        if event.key is not None:
            keys.append(event.key)
        if event.sets is not None:
            sets_values = sets_values or isinstance(event.sets, NamedValue)
            spends = spends or isinstance(event.sets, Reported)
    return await runs.apply(
        app,
        writing(principal) if held else for_appending(principal, run_ref.run_id),
        run_ref,
        lambda run, loaded: counted(
            rules.append(
                run,
                now=loaded.now,
                events=new.events,
                expected_previous_event_id=new.expected_previous_event_id,
                expected_sequence=new.expected_sequence,
                tail=loaded.tail,
                fence=fence,
                keys=loaded.event_keys,
                events_max=quotas.of(run.project_id).events_per_run or limits.events_per_run_max,
                event_bytes_max=quotas.of(run.project_id).event_bytes_per_run,
                value_names=loaded.value_names,
            ),
            loaded.spending,
        ),
        Want(
            expected_previous_event_id=new.expected_previous_event_id,
            event_keys=tuple(keys),
            value_names=sets_values,
            spends=spends,
        ),
        idempotency,
    )


async def page(
    app: App, principal: Principal, run_ref: RunRef, after: int, limit: int, types: Sequence[str] = ()
) -> tuple[Run, list[Event], bool]:
    """Return the run, its events after an event id in order, and whether more follow.

    A page of large events may be shorter than `limit`.
    """
    run = await runs.get(app, principal, run_ref)
    read, known = app.store.runs.events, run.latest_event_id
    found = await read(run.seq, after, limit + 1, limits.event_page_bytes_max, types, known)
    more = len(found) > limit
    if not more and found and found[-1].event_id < run.latest_event_id:
        # The page reached its limit in bytes, or all later events are private.
        rest = await read(run.seq, found[-1].event_id, 1, None, types)
        more = bool(rest)
    return run, found[:limit], more


async def before(
    app: App, principal: Principal, run_ref: RunRef, before: int, limit: int, types: Sequence[str] = ()
) -> tuple[Run, list[Event]]:
    """Return the run and the last events before an event id, in order.

    Earlier events may exist even if there are fewer than `limit`.
    """
    run = await runs.get(app, principal, run_ref)
    read, known = app.store.runs.events_before, run.latest_event_id
    return run, await read(run.seq, before, limit, limits.event_page_bytes_max, types, known)


async def family_page(
    app: App, principal: Principal, run: Run, after: int, limit: int, types: Sequence[str] = ()
) -> FamilyPage:
    """Return events of a run and its descendants after a position, in the order in which they were stored."""
    if not principal.reads_descendants:
        refuse_bound(principal, "cannot read other runs")
    return await app.store.runs.family_events(run, after, limit, limits.event_page_bytes_max, types)


async def one(app: App, principal: Principal, run_ref: RunRef, event_id: int) -> Event:
    """Return one public event. Raises NOT_FOUND."""
    run = await runs.get(app, principal, run_ref)
    return existing(await app.store.runs.event(run.seq, event_id), "Event")


async def summary(app: App, principal: Principal, run_ref: RunRef) -> tuple[Run, list[TypeCount]]:
    """Count the public events of each type in the run's log, most frequent type first."""
    run = await runs.get(app, principal, run_ref)
    return run, await app.store.runs.event_counts(run.seq)
