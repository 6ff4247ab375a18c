"""Retention: delete families that ended long ago. Their messages stay in their conversations."""

from typing import cast

import msgspec

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.conversations.conversation import MessageRun, Outcome
from runstead.core.runs.run import TerminalStatus
from runstead.ports.store import Archived, RetentionPage


async def retire(app: App, age_ms: int, after: int) -> tuple[int, int | None]:
    """Delete one bounded group of families older than `age_ms`.

    Returns the number of deleted runs and the seq to continue after; None: all were checked.
    """
    page: RetentionPage = await app.store.retention.candidates(
        age_ms, after, limits.retention_rows_per_tick_max
    )
    count = 0
    for start in range(0, len(page.runs), limits.retention_runs_max):
        candidates = page.runs[start : start + limits.retention_runs_max]
        archived = [
            (run, None if run.message is None else await _archive(app, run.message)) for run in candidates
        ]
        count += await app.store.retention.retire(age_ms, archived)
    return count, page.reached


async def sweep(app: App, age_ms: int) -> int:
    """Free the space of deleted runs, if the engine defers that. Returns the amount freed."""
    return await app.store.retention.sweep(age_ms)


async def _archive(app: App, run: MessageRun) -> Archived:
    projected = await app.projections.of(run)
    metadata = msgspec.Raw(run.metadata or b"null")
    status = cast(TerminalStatus, run.status.value)
    outcome = Outcome(run.run_id, status, run.updated_at, metadata, projected.truncated)
    return Archived(projected.parts, msgspec.json.encode(outcome))
