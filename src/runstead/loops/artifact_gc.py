"""Deletes the artifacts of deleted runs."""

import structlog

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error

log = structlog.get_logger(__name__)


async def collect_artifacts(app: App) -> int:
    """Delete the artifacts of a bounded number of runs, and return the number of runs. It is idempotent."""
    if app.artifacts is None:
        return 0
    deleted = []
    for uid in await app.store.artifact_tombstones.some(limits.artifact_tombstones_per_tick_max):
        try:
            await app.artifacts.remove_all(uid)
        except Error as trouble:
            log.warning("artifacts of a deleted run could not be deleted", run=uid, reason=trouble.message)
            break
        deleted.append(uid)
    if deleted:
        await app.store.artifact_tombstones.drop(deleted)
    return len(deleted)
