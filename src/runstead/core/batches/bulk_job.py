"""Bulk jobs: one action on all runs that matched a filter when the job began. Times are ms since 1970 UTC."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from runstead.core import limits

BulkAction = Literal["cancel", "retry", "delete"]
BulkStatus = Literal["running", "completed", "cancelled"]

encode = msgspec.json.Encoder().encode


class BulkCaller(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who began the job: the audit log names this caller with every run that the job changes."""

    kind: Literal["api_key", "user"]
    id: str
    name: str | None = None
    credential_id: str | None = None
    address: str | None = None
    request_id: str | None = None


class BulkJob(msgspec.Struct, frozen=True):
    """One job as a row of the store. `filter`, `caller` and `errors` are JSON text.

    The runs are kept in the order of the work: oldest first, or newest first to be deleted. The first `done + failed`
    of `total` were handled. `failed` counts those that refused the action, and `errors` has the first of their
    refusals.
    """

    id: str
    project_id: str
    action: BulkAction
    status: BulkStatus
    total: int
    created_at: int
    updated_at: int
    caller: bytes
    filter: bytes
    done: int = 0
    failed: int = 0
    from_step: str | None = None
    created_by: str | None = None
    ended_at: int | None = None
    errors: bytes | None = None

    @property
    def position(self) -> int:
        """The number of runs that were handled."""
        return self.done + self.failed


class BulkRun(msgspec.Struct, frozen=True, array_like=True):
    """A run of a job. A later run with the same id has another `uid`."""

    run_id: str
    uid: str


class Refusal(msgspec.Struct, frozen=True):
    """Why a run refused the action of a job."""

    run_id: str
    code: str
    message: str


class Progress(msgspec.Struct, frozen=True):
    """What a job has done with its next runs."""

    done: int
    refusals: Sequence[Refusal] = ()


_refusals: Final = msgspec.json.Decoder(tuple[Refusal, ...])


def refusals_of(job: BulkJob) -> tuple[Refusal, ...]:
    return () if job.errors is None else _refusals.decode(job.errors)


def advance(job: BulkJob, progress: Progress, now: int) -> BulkJob:
    """Count the handled runs. The job is completed when there are no more."""
    done, failed = job.done + progress.done, job.failed + len(progress.refusals)
    ended = done + failed >= job.total
    shown = (*refusals_of(job), *progress.refusals)[: limits.bulk_errors_max]
    return replace(
        job,
        done=done,
        failed=failed,
        errors=encode(shown) if shown else None,
        status="completed" if ended else "running",
        ended_at=now if ended else None,
        updated_at=now,
    )


def cancel(job: BulkJob, now: int) -> BulkJob:
    """Stop the job. What it has done stays. A job that has ended does not change."""
    if job.status != "running":
        return job
    return replace(job, status="cancelled", ended_at=now, updated_at=now)
