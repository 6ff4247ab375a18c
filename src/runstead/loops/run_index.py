"""Keeps the index by which lists of runs are found."""

from runstead.commands.app import App


async def index(app: App) -> int:
    """One bounded look at what is new and what has changed; how many runs were looked at."""
    return await app.store.run_index.advance()
