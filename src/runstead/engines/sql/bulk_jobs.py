"""Bulk jobs: their rows, and the lists of their runs in parts."""

from collections.abc import Sequence
from typing import Final

import msgspec

from runstead.core import limits
from runstead.core.batches import bulk_job as rules
from runstead.core.batches.bulk_job import BulkJob, BulkRun, Progress
from runstead.core.errors import not_found
from runstead.core.idempotency import Idempotency
from runstead.engines.sql.methods import SqlNoun, command
from runstead.engines.sql.steps import (
    LockSpace,
    Steps,
    changed,
    execute,
    execute_many,
    first,
    lock,
    rewrite,
    select,
    value,
)
from runstead.ports.store import Change, Count

encode = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(list[BulkRun]).decode


class SqlBulkJobs(SqlNoun):
    async def create(
        self, job: BulkJob, runs: Sequence[BulkRun], guard: Count, idempotency: Idempotency = None
    ) -> BulkJob:
        most = limits.bulk_part_runs
        parts = [
            {"job_id": job.id, "start": start, "runs": encode(runs[start : start + most])}
            for start in range(0, len(runs), most)
        ]

        def create(_now: int) -> Steps[BulkJob]:
            yield from lock(LockSpace.BULK_JOBS, [job.project_id])
            guard((yield from value("count_running_bulk_jobs", project_id=job.project_id)))
            yield from execute("add_bulk_job", job)
            yield from execute_many("add_bulk_job_part", parts)
            yield from execute("forget_bulk_jobs", project_id=job.project_id, kept=limits.bulk_jobs_kept)
            yield from changed(None, job)
            return job

        return await self._database.write(create, idempotency)

    async def get(self, project_id: str, job_id: str) -> BulkJob | None:
        found = await self._database.read(first, "bulk_job", BulkJob, id=job_id)
        return found if found is not None and found.project_id == project_id else None

    async def running(self, limit: int) -> list[BulkJob]:
        return await self._database.read(select, "running_bulk_jobs", BulkJob, limit=limit)

    async def next_runs(self, job: BulkJob, limit: int) -> list[BulkRun]:
        start = job.position // limits.bulk_part_runs * limits.bulk_part_runs
        found = await self._database.read(value, "bulk_job_part", job_id=job.id, start=start)
        return [] if found is None else _decode(found)[job.position - start :][:limit]

    @command
    def advance(self, now: int, job: BulkJob, progress: Progress) -> Steps[BulkJob | None]:
        old = yield from first("lock_bulk_job", BulkJob, id=job.id)
        if old is None or old.status != "running" or old.position != job.position:
            return None
        new = rules.advance(old, progress, now)
        yield from _rewrite(old, new)
        return new

    @command
    def change(self, now: int, project_id: str, job_id: str, decide: Change[BulkJob]) -> Steps[BulkJob]:
        old = yield from first("lock_bulk_job", BulkJob, id=job_id)
        if old is None or old.project_id != project_id:
            raise not_found("Bulk job")
        new = decide(old, now)
        yield from _rewrite(old, new)
        yield from changed(old, new)
        return new


def _rewrite(old: BulkJob, new: BulkJob) -> Steps[None]:
    """Write a job. The list of its runs goes when it ends."""
    yield from rewrite("bulk_jobs", old, new)
    if new.status != "running" == old.status:
        yield from execute("drop_bulk_job_parts", job_id=new.id)
