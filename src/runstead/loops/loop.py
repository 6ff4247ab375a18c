"""Runs the ticks of a loop until the server stops.

A failed tick is logged and retried: a loop never ends by an error.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.ports import metrics
from runstead.ports.notifier import pause

log = structlog.get_logger(__name__)

Tick = Callable[[], Awaitable[int]]
"""A bounded amount of work. Returns the number of processed rows."""


class Loop(NamedTuple):
    """A loop with `seconds` between two ticks.

    The next tick comes earlier if one processed `rows_max` rows.
    """

    name: str
    seconds: float
    run_tick: Tick
    #: Run on the leader only, because one replica is enough. Safety must not depend on it: two replicas may
    #: believe to lead.
    led: bool = True
    rows_max: int = limits.deadlines_per_tick_max
    #: Returns the ms until the next known work, None if there is none. The next tick comes at this time.
    soonest: Callable[[], Awaitable[int | None]] | None = None
    #: A change notification of this key starts a tick at once.
    key: str | None = None


async def every(app: App, loop: Loop) -> None:
    """Run the loop until the server stops.

    The pause after a tick is at least as long as the tick, even with a backlog or a change notification. So
    the loop uses the store at most half of the time.
    """
    metrics.register_loop(loop.name)
    clock = app.leader_state.clock
    with app.notifier.subscribe(*(() if loop.key is None else (loop.key,))) as wake:
        while not app.stopping.is_set():
            if loop.led and not app.leader_state.leads:
                await pause(app.stopping, min(loop.seconds, limits.loop_wait_s_max))
                continue
            wake.clear()
            began = clock()
            processed = await tick(loop.name, loop.run_tick)
            took = clock() - began
            await pause(app.stopping, min(loop.seconds, took))
            if processed < loop.rows_max and not app.stopping.is_set():
                left = min(loop.seconds - took, await _until_soonest(loop))
                await pause(wake if loop.key is not None else app.stopping, left)


async def _until_soonest(loop: Loop) -> float:
    """Return the seconds until the next known work.

    There is a minimum, because another replica may hold what is due.
    """
    if loop.soonest is None:
        return loop.seconds
    try:
        soonest = await loop.soonest()
    except Error:  # the next tick gets the same error and logs it
        return loop.seconds
    return loop.seconds if soonest is None else max(soonest / 1000, limits.loop_pause_s_min)


async def tick(name: str, run_tick: Tick) -> int:
    """Run one tick with its metrics. Returns the number of processed rows, 0 if it failed."""
    try:
        processed = await run_tick()
    except Error as trouble:
        log.warning("loop has to wait", loop=name, code=trouble.code, reason=trouble.message)
    except Exception:
        log.exception("loop failed", loop=name)
    else:
        metrics.loop_ticks.labels(name).inc()
        metrics.loop_rows.labels(name).inc(processed)
        metrics.loop_success.labels(name).set_to_current_time()
        return processed
    metrics.loop_failures.labels(name).inc()
    return 0
