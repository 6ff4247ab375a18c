"""Lets old families leave: what they said in conversations stays."""

from typing import cast

import msgspec

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.conversations.conversation import MessageRun, Outcome
from runstead.core.runs.run import TerminalStatus
from runstead.ports.store import Archived, RetentionPage


async def retire(app: App, age_ms: int, after: int) -> tuple[int, int | None]:
    """One bounded piece of what is older than this; how many runs left, and where to go on (None: all was looked at)."""
    page: RetentionPage = await app.store.retention.candidates(
        age_ms, after, limits.retention_rows_per_tick_max
    )
    count = 0
    for start in range(0, len(page.runs), limits.retention_runs_max):
        leaving = page.runs[start : start + limits.retention_runs_max]
        told = [
            (doomed, None if doomed.message is None else await _left(app, doomed.message))
            for doomed in leaving
        ]
        count += await app.store.retention.retire(age_ms, told)
    return count, page.reached


async def sweep(app: App, age_ms: int) -> int:
    return await app.store.retention.sweep(age_ms)


async def _left(app: App, run: MessageRun) -> Archived:
    folded = await app.projections.of(run)
    metadata = msgspec.Raw(run.metadata or b"null")
    status = cast(TerminalStatus, run.status.value)
    outcome = Outcome(run.run_id, status, run.updated_at, metadata, folded.truncated)
    return Archived(folded.parts, msgspec.json.encode(outcome))
