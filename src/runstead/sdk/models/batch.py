"""Batches of runs."""

from datetime import datetime
from typing import Any

import msgspec

from runstead.sdk.models.response import Page, ResponseModel


class StatusCounts(ResponseModel, frozen=True, kw_only=True):
    """The number of runs in each state."""

    pending: int = 0
    running: int = 0
    waiting: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class OnComplete(ResponseModel, frozen=True, kw_only=True):
    """The follow-up run of a batch. `run_id` is None until the run is created."""

    target: str
    config: dict[str, Any] | None = None
    run_id: str | None = None


class Batch(ResponseModel, frozen=True, kw_only=True):
    """Runs that were created together.

    `status` is running, cancelling, completed (all runs have ended, in any state) or cancelled. `total` counts all
    runs of the batch, also deleted ones.
    """

    id: str
    project_id: str
    status: str
    status_counts: StatusCounts
    total: int
    name: str | None = None
    on_complete: OnComplete | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    cancel_reason: str | None = None


class CreatedBatch(ResponseModel, frozen=True, kw_only=True):
    """The answer to the creation of a batch. `run_ids` are in the order of the request's runs.

    `duplicate_run_ids` are those of them that existed before, found by `unique` or `debounce`.
    """

    accepted: bool
    batch: Batch
    run_ids: list[str]
    duplicate_run_ids: list[str] = msgspec.field(default_factory=list)


class CancelledBatch(ResponseModel, frozen=True, kw_only=True):
    """The answer to a cancel. `cancelled`: this call cancelled the batch."""

    cancelled: bool
    batch: Batch


class BatchPage(Page[Batch], frozen=True, kw_only=True):
    """One page of batches, newest first."""


class BatchProgress(ResponseModel, frozen=True, kw_only=True):
    """The progress of a batch. `completed_at` is set in the last one."""

    batch_id: str
    status: str
    status_counts: StatusCounts
    total: int
    started_at: datetime | None = None
    completed_at: datetime | None = None
