"""Bulk jobs."""

from collections.abc import Sequence
from typing import Protocol

from runstead.core.batches.bulk_job import BulkJob, BulkRun, Progress
from runstead.core.idempotency import Idempotency
from runstead.ports.store.project_records import Change, Count


class BulkJobs(Protocol):
    async def create(
        self, job: BulkJob, runs: Sequence[BulkRun], guard: Count, idempotency: Idempotency = None
    ) -> BulkJob:
        """Store a job with its runs, and delete the project's oldest ended jobs beyond `limits.bulk_jobs_kept`.

        The guard gets the number of the project's running jobs.
        """

    async def get(self, project_id: str, job_id: str) -> BulkJob | None: ...

    async def running(self, limit: int) -> list[BulkJob]:
        """Return running jobs. Those that advanced longest ago come first."""

    async def next_runs(self, job: BulkJob, limit: int) -> list[BulkRun]:
        """Return at most `limit` of the job's next runs, fewer at the end of a part, one at least unless it has ended."""

    async def advance(self, job: BulkJob, progress: Progress) -> BulkJob | None:
        """Count what was done since `job` was read. None if it has advanced or ended since: nothing changes."""

    async def change(self, project_id: str, job_id: str, decide: Change[BulkJob]) -> BulkJob:
        """Change a job under lock. NOT_FOUND."""
