"""The event loop of `serve` and `worker`: uvloop where it exists, and what else a platform lacks."""

import asyncio
import sys
from collections.abc import Callable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop's loop. None: the loop of asyncio, as on Windows."""
    try:
        import uvloop  # noqa: PLC0415 - imported only when needed, so that `runstead --help` is fast
    except ImportError:
        return None
    return uvloop.new_event_loop


def missing_here() -> str | None:
    """Return the sentence about what this platform lacks, for the start of a server."""
    if sys.platform != "win32":
        return None
    return (
        "The server is tested on Linux and macOS. On Windows it has no uvloop (it is slower), no RUNSTEAD_PROCESSES and"
        " no reload of certificates by SIGHUP: run it in WSL or a container. The SDK, workers and other commands work here"
    )
