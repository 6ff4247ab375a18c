"""Waiting for a condition, where nothing reports that it is true."""

import asyncio
import time


def until(condition, what, seconds=10.0):
    """What the condition returns, as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return result


async def eventually(condition, seconds=20):
    """Wait on the event loop until the condition is true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0.001)
