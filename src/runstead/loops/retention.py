"""Deletes families of runs that ended longer ago than the retention period."""

from runstead.commands import retention
from runstead.commands.app import App


class RetentionLoop:
    """Reads the old runs in pages, and starts again after the last page."""

    def __init__(self, app: App, age_ms: int) -> None:
        self._app = app
        self._age_ms = age_ms
        self._after = 0

    async def retire(self) -> int:
        """Delete a bounded number of old runs.

        After the last page, also free space. Returns how much was done.
        """
        count, reached = await retention.retire(self._app, self._age_ms, self._after)
        self._after = reached or 0
        if reached is None:
            count += await retention.sweep(self._app, self._age_ms)
        return count
