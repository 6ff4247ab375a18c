"""Lets families leave that ended longer ago than the store shall keep them."""

from runstead.commands import retention
from runstead.commands.app import App


class RetentionLoop:
    """Goes through the old runs piece by piece, and begins anew once it is through."""

    def __init__(self, app: App, age_ms: int) -> None:
        self._app = app
        self._age_ms = age_ms
        self._after = 0

    async def retire(self) -> int:
        """One bounded look; how many runs left, or were swept up."""
        count, reached = await retention.retire(self._app, self._age_ms, self._after)
        self._after = reached or 0
        if reached is None:
            count += await retention.sweep(self._app, self._age_ms)
        return count
