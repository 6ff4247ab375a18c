"""Waiting for a condition, where nothing reports that it is true.

The limits are for a test that fails: a busy machine may take ten times as long as an idle one.
"""

import asyncio
import time


def until(condition, what, seconds=60.0):
    """What the condition returns, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return result


async def eventually(condition, seconds=60):
    """Wait on the event loop until the condition is true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0.001)
