"""A run's log: appending, reading, following."""

from collections.abc import Sequence

import msgspec

from runstead import append as rules, limits
from runstead.commands import runs
from runstead.commands.app import App
from runstead.commands.runs import Named
from runstead.event import Event, NewEvent
from runstead.principal import Principal, for_appending
from runstead.run import Run
from runstead.seal import Seal
from runstead.store import Written
from runstead.transition import Want
from runstead.transitions import Fence


class Batch(msgspec.Struct, frozen=True):
    """Events to append, and where the caller believes the log to stand."""

    events: tuple[NewEvent, ...]
    expected_event_id: int | None = None
    expected_sequence: int | None = None


async def append(
    app: App, principal: Principal, named: Named, batch: Batch, fence: Fence, seal: Seal | None = None
) -> Written:
    """Store the events after the last one, all or none; a repeat of what is stored adds nothing.

    EVENT_CURSOR_MISMATCH, EVENT_RUN_TERMINAL, EVENT_RUN_WAITING, EVENT_LOG_FULL, ATTEMPT_SUPERSEDED.
    """
    return await runs.apply(
        app,
        for_appending(principal, named.run_id),
        named,
        lambda run, loaded: rules.append(
            run,
            now=loaded.now,
            events=batch.events,
            expected_event_id=batch.expected_event_id,
            expected_sequence=batch.expected_sequence,
            tail=loaded.tail,
            fence=fence,
        ),
        Want(tail_after=batch.expected_event_id),
        seal,
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
