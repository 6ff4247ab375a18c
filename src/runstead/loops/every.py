"""Runs a loop's verb again and again until the server stops. Trouble is logged and tried again: a loop never dies."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from runstead import limits
from runstead.errors import Error

log = structlog.get_logger(__name__)


async def every(
    seconds: float, name: str, verb: Callable[[], Awaitable[int]], stopping: asyncio.Event
) -> None:
    """At once again while the verb finds a full tick's work, so that a backlog is worked off without a pause."""
    while not stopping.is_set():
        found = 0
        try:
            found = await verb()
        except Error as trouble:
            log.warning("loop has to wait", loop=name, code=trouble.code, reason=trouble.message)
        except Exception:
            log.exception("loop failed", loop=name)
        if found < limits.reaper_rows_per_tick_max:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stopping.wait()
