"""Batches of runs, and following one to its end across broken connections, without I/O."""

from collections.abc import Iterator
from datetime import datetime
from types import NoneType
from typing import Any

import msgspec

from runstead.sdk.errors import UnexpectedAnswerError
from runstead.sdk.models.response import PageInfo, ResponseModel
from runstead.sdk.routes.call import Call, path
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.sse import Frame, Parser
from runstead.sdk.transport.stream_follower import StreamFollower


class StatusCounts(ResponseModel, frozen=True, kw_only=True):
    """How many runs are in which state."""

    pending: int = 0
    running: int = 0
    waiting: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class OnComplete(ResponseModel, frozen=True, kw_only=True):
    """The run that follows a batch. `run_id` is None until it is created."""

    target: str
    config: dict[str, Any] | None = None
    run_id: str | None = None


class Batch(ResponseModel, frozen=True, kw_only=True):
    """`status` is running, cancelling, completed (all have ended, however they did) or cancelled. `total` counts every
    run that the batch has had.
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
    """`run_ids` stand in the order in which the runs were asked for."""

    accepted: bool
    batch: Batch
    run_ids: list[str]


class CancelledBatch(ResponseModel, frozen=True, kw_only=True):
    """`cancelled`: whether this call did it."""

    cancelled: bool
    batch: Batch


class BatchPage(ResponseModel, frozen=True, kw_only=True):
    data: list[Batch]
    page_info: PageInfo


class BatchProgress(ResponseModel, frozen=True, kw_only=True):
    """A batch as it stood. `completed_at` is set in the last one."""

    batch_id: str
    status: str
    status_counts: StatusCounts
    total: int
    started_at: datetime | None = None
    completed_at: datetime | None = None


class BatchFollower(StreamFollower[BatchProgress]):
    """One follower of a batch. `done` once its end was told."""

    def __init__(self, project: str, batch_id: str, retries: Retries) -> None:
        super().__init__(retries)
        self._path = path("projects", project, "batches", batch_id, "stream")
        self._last: str | None = None

    def call(self) -> Call[None]:
        self._parser = Parser()
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._last:
            headers["Last-Event-ID"] = self._last
        return Call("GET", self._path, NoneType, headers=headers)

    def feed(self, chunk: bytes) -> Iterator[BatchProgress]:
        self._failures = 0
        for frame in self._parser.feed(chunk):
            progress = self._progress(frame)
            self._last = frame.id
            self.done = progress.completed_at is not None
            yield progress
            if self.done:
                return

    def _progress(self, frame: Frame) -> BatchProgress:
        try:
            return msgspec.json.decode(frame.data, type=BatchProgress)
        except msgspec.DecodeError as error:
            trouble = str(error)
        raise UnexpectedAnswerError(f"The progress of the batch was not understood: {trouble}", 200)
