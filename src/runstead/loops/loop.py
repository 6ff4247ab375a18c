"""Runs a loop's verb again and again until the server stops. Trouble is logged and tried again: a loop never dies."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.ports import metrics

log = structlog.get_logger(__name__)

Verb = Callable[[], Awaitable[int]]
"""One bounded look; how much it found to do."""


class Loop(NamedTuple):
    """`seconds` lie between two looks, unless the first found as much as it may (`rows_max`) and more may be left."""

    name: str
    seconds: float
    verb: Verb
    #: Only on the leader: one look is enough for all replicas. Not for what is safe only so: no lead is ever sure.
    led: bool = True
    rows_max: int = limits.deadlines_per_tick_max
    #: In how many ms there is something to do, None for nothing that is known: the next look is then.
    soonest: Callable[[], Awaitable[int | None]] | None = None
    #: Hints for this key make it look at once.
    key: str | None = None


async def every(app: App, loop: Loop) -> None:
    """A backlog is worked off in full ticks with as long a pause after each as it took: it gets half of the time at
    most, and whoever else wants the store, the rest. A hint leaves as much.
    """
    metrics.register_loop(loop.name)
    clock = app.leader_state.clock
    with app.notifier.subscribe(*(() if loop.key is None else (loop.key,))) as hint:
        while not app.stopping.is_set():
            if loop.led and not app.leader_state.leads:
                await pause(app.stopping, min(loop.seconds, limits.loop_wait_s_max))
                continue
            hint.clear()
            began = clock()
            found = await tick(loop.name, loop.verb)
            took = clock() - began
            await pause(app.stopping, min(loop.seconds, took))
            if found < loop.rows_max and not app.stopping.is_set():
                left = min(loop.seconds - took, await _until_soonest(loop))
                await pause(hint if loop.key is not None else app.stopping, left)


async def _until_soonest(loop: Loop) -> float:
    """Seconds. Not too few: what is due may be held by another replica."""
    if loop.soonest is None:
        return loop.seconds
    try:
        soonest = await loop.soonest()
    except Error:  # the next tick meets the same trouble, and logs it
        return loop.seconds
    return loop.seconds if soonest is None else max(soonest / 1000, limits.loop_pause_s_min)


async def tick(name: str, verb: Verb) -> int:
    """The verb once, noted; what it found, 0 where it met trouble."""
    try:
        found = await verb()
    except Error as trouble:
        log.warning("loop has to wait", loop=name, code=trouble.code, reason=trouble.message)
    except Exception:
        log.exception("loop failed", loop=name)
    else:
        metrics.loop_ticks.labels(name).inc()
        metrics.loop_rows.labels(name).inc(found)
        metrics.loop_success.labels(name).set_to_current_time()
        return found
    metrics.loop_failures.labels(name).inc()
    return 0


async def pause(until: asyncio.Event, seconds: float) -> None:
    """So long, or until the event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await until.wait()
