"""The cleanup of a cancelled run: steps in `finally` and `except` blocks are called, and not recorded."""

import asyncio
from typing import Final

from runstead.sdk.durable.emitter import LeaseLostError

#: How long the cleanup may take, from its first step on.
CLEANUP_S: Final = 10.0


def is_cleanup(error: BaseException | None) -> bool:
    """Whether code that handles this exception runs because the worker stopped the handler."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, asyncio.CancelledError | LeaseLostError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


class CleanupTime:
    """The time that is left for the cleanup of a run."""

    def __init__(self) -> None:
        self._ends_at: float | None = None

    def left_s(self, name: str) -> float:
        """Return the seconds that are left. Raise LeaseLostError where none are."""
        now = asyncio.get_running_loop().time()
        if self._ends_at is None:
            self._ends_at = now + CLEANUP_S
        if now >= self._ends_at:
            raise LeaseLostError(
                f"The run was cancelled, and its cleanup may take {CLEANUP_S:g} s: the step {name!r} was not called"
            )
        return self._ends_at - now
