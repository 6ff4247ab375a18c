"""Maintains the index of runs, which speeds up filtered lists."""

from runstead.commands.app import App


async def index(app: App) -> int:
    """Index a bounded number of new and changed runs. Returns the number of runs read."""
    return await app.store.run_index.advance()
