"""Bulk jobs."""

from datetime import datetime
from typing import Any

import msgspec

from runstead.sdk.models.response import ResponseModel


class BulkError(ResponseModel, frozen=True, kw_only=True):
    """A run that refused the action of a job, and why."""

    run_id: str
    code: str
    message: str


class BulkJob(ResponseModel, frozen=True, kw_only=True):
    """An action on the runs that matched a filter when the job began.

    `status` is running, completed or cancelled. `done` and `failed` of the `total` runs were handled; `failed` ones
    refused the action, and `errors` has the first of their refusals.
    """

    id: str
    project_id: str
    action: str
    status: str
    total: int
    done: int = 0
    failed: int = 0
    filter: dict[str, Any] = msgspec.field(default_factory=dict)
    from_step: str | None = None
    errors: list[BulkError] = msgspec.field(default_factory=list)
    created_by: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    ended_at: datetime | None = None


class BulkAnswer(ResponseModel, frozen=True, kw_only=True):
    """The answer of the routes of bulk jobs."""

    job: BulkJob
