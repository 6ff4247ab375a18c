"""Removes the artifacts of deleted runs."""

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error

log = structlog.get_logger(__name__)


async def collect_artifacts(app: App) -> int:
    """One bounded look; how many runs' artifacts are gone. Doing it twice does no harm."""
    if app.artifacts is None:
        return 0
    gone = []
    for uid in await app.store.artifact_tombstones.some(limits.artifact_tombstones_per_tick_max):
        try:
            await app.artifacts.remove_all(uid)
        except Error as trouble:
            log.warning("artifacts of a deleted run are still there", run=uid, trouble=trouble.message)
            break
        gone.append(uid)
    if gone:
        await app.store.artifact_tombstones.drop(gone)
    return len(gone)
