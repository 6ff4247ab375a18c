"""Measures the store for `/metrics`, so that a scrape never waits for the store."""

import asyncio

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error


async def measure(app: App) -> int:
    """Measure queues and sizes. Raises STORE_BUSY after `limits.measurement_s_max`: the last values stay."""
    try:
        async with asyncio.timeout(limits.measurement_s_max):
            sizes = await app.store.sizes()
            measured = await app.store.statistics.measured(
                limits.statistics_projects_max, limits.statistics_runs_max, limits.measured_queues_max
            )
    except TimeoutError:
        message = f"Measuring the store took longer than {limits.measurement_s_max:g} seconds"
        raise Error("STORE_BUSY", message, retry_after_s=1) from None
    app.store_metrics.note(measured, sizes)
    return 0
