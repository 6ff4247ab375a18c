"""Batches of a project."""

from collections.abc import Iterable, Mapping
from typing import Any

from runstead.sdk.models.batch import Batch, BatchPage, BatchProgress, CancelledBatch, CreatedBatch
from runstead.sdk.models.value import Codec, packed
from runstead.sdk.routes.call import Call, idempotent, members
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every, route, stream
from runstead.sdk.transport.followers import BatchFollower
from runstead.sdk.transport.stream_follower import StreamFollower


class Batches(Resource[S_co]):
    """404 for a batch that is unknown or not visible to the caller."""

    @route
    def create(
        self,
        runs: Iterable[Mapping[str, Any]],
        *,
        name: str | None = None,
        on_complete: Mapping[str, Any] | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[CreatedBatch]:
        """`POST /projects/{ref}/batches`: create up to 1,000 runs, all or none.

        Each of `runs` is {kind: task, workflow or eval, request, public_id?, parent_run_id?, title?, labels?,
        concurrency_key?, unique?, debounce?}. `on_complete` is {target, config?}. The `errors` of 400 and 409 name the
        run: `$.runs[17]…`.
        """
        body = {"runs": [_packed(run, self._client.codec) for run in runs]} | members(
            name=name, on_complete=on_complete
        )
        where = self._in_project(project, "batches")
        return idempotent("POST", where, CreatedBatch, body=body, key=idempotency_key)

    @endpoint("GET", "/projects/{ref}/batches")
    def list(
        self, *, cursor: str | None = None, limit: int | None = None, project: str | None = None
    ) -> Call[BatchPage]:
        """One page, newest first."""

    iter = every(list, Batch)

    @endpoint("GET", "/projects/{ref}/batches/{batch_id}")
    def get(self, batch_id: str, *, project: str | None = None) -> Call[Batch]:
        """Read a batch, with its `status_counts`."""

    @endpoint(
        "POST",
        "/projects/{ref}/batches/{batch_id}/retry",
        key="new",
        convert={"cancelled": lambda value: value or None},
    )
    def retry(
        self,
        batch_id: str,
        *,
        cancelled: bool = False,
        name: str | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[CreatedBatch]:
        """Create a batch from the requests of the failed runs.

        With `cancelled` the cancelled runs are included. Each new run's `retry_of` is the old run. 409
        BATCH_NOT_RETRIABLE while a run has not ended, and where no run, or more than 1,000 runs, would be retried.
        """

    @endpoint("POST", "/projects/{ref}/batches/{batch_id}/cancel", key="new")
    def cancel(
        self,
        batch_id: str,
        reason: str | None = None,
        *,
        project: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[CancelledBatch]:
        """Cancel the batch and every run that has not ended.

        `cancelled` is false where the batch had ended or was cancelled before.
        """

    @stream
    def follow(self, batch_id: str, *, project: str | None = None) -> StreamFollower[BatchProgress]:
        """Yield the progress of a batch now and after each change (at most ten times a second), until all runs ended.

        The last progress has `completed_at`. A broken or silent connection is replaced by a new one. Raise
        RunsteadError when the server is unavailable for longer than the client's retries.
        """
        return BatchFollower(self._project(project), batch_id)


def _packed(run: Mapping[str, Any], codec: Codec | None) -> Mapping[str, Any]:
    """Return the definition of a run with its input and config as they are sent."""
    request = run.get("request")
    if codec is None or not isinstance(request, Mapping):
        return run
    values = {name: packed(request[name], codec) for name in ("input", "config") if name in request}
    return {**run, "request": {**request, **values}}
