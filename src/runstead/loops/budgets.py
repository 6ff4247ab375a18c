"""Lets runs continue that wait for a budget which was raised, changed or deleted."""

from runstead.commands.app import App
from runstead.commands.budgets import settle_some


async def settle_budgets(app: App) -> int:
    """Look at the runs that wait for a bounded number of budgets. Returns over 0 if more are left."""
    return await settle_some(app)
