"""Routes for workers. Registering needs a key; the others take the worker's token or a key that may write."""

import builtins
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from runstead.sdk.models.lease import (
    Claim,
    Lease,
    RegisteredTarget,
    RegisteredWorker,
    Registration,
    Released,
    RemovedWorker,
    SessionAnswer,
    TargetPage,
    WorkerHint,
    WorkerPage,
    WorkerVersion,
)
from runstead.sdk.models.run import Kind
from runstead.sdk.routes.call import Call, fence, idempotent, members, path, query
from runstead.sdk.routes.route import Resource, S_co, every, route, stream
from runstead.sdk.transport.channel_follower import ChannelFollower
from runstead.sdk.transport.stream_follower import StreamFollower


class Workers(Resource[S_co]):
    """Workers, and the runs that they claim. 404 for a worker or run that is unknown or not visible to the caller."""

    @route
    def register(
        self,
        implementation_kind: str,
        worker_key: str,
        *,
        display_name: str | None = None,
        implementation_display_name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        targets: Sequence[Mapping[str, Any]] | None = None,
        version: str | None = None,
        project: str | None = None,
    ) -> Call[Registration]:
        """`POST /agent-workers/projects/{ref}/workers`: register a worker. `version` is that of its code.

        `targets` describe what it serves: `{"target": "task:report", "description": …, "input_schema": {…}}`.

        The same kind and key return the same worker with a new token. Use it with
        `client.with_key(registration.token)`.
        """
        body = members(
            implementation_kind=implementation_kind,
            worker_key=worker_key,
            display_name=display_name,
            implementation_display_name=implementation_display_name,
            metadata=metadata,
            targets=targets,
            version=version,
        )
        where = path("agent-workers", "projects", self._project(project), "workers")
        return Call("POST", where, Registration, body=body)

    @route
    def list(
        self,
        *,
        status: Literal["active", "offline"] | None = None,
        project: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[WorkerPage]:
        """`GET /agent-workers/projects/{ref}/workers`: one page of a project's workers, by kind and key.

        A worker that made no call for two minutes is `offline`.
        """
        where = path("agent-workers", "projects", self._project(project), "workers")
        return Call("GET", where, WorkerPage, query(cursor=cursor, limit=limit, status=status))

    iter = every(list, RegisteredWorker)

    @route
    def targets(
        self, *, project: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> Call[TargetPage]:
        """`GET /projects/{ref}/targets`: one page of the targets that a project's workers have registered, by name."""
        where = self._in_project(project, "targets")
        return Call("GET", where, TargetPage, query(cursor=cursor, limit=limit))

    iter_targets = every(targets, RegisteredTarget)

    @route
    def versions(self, *, project: str | None = None) -> Call[builtins.list[WorkerVersion]]:
        """`GET /agent-workers/projects/{ref}/versions`: workers and runs by the version of the workers' code."""
        where = path("agent-workers", "projects", self._project(project), "versions")
        return Call("GET", where, builtins.list[WorkerVersion])

    @route
    def heartbeat(self, worker_id: str) -> Call[Registration]:
        """`POST /agent-workers/workers/{worker_id}/heartbeat`: the worker is alive. `token` is None in the answer."""
        return Call("POST", path("agent-workers", "workers", worker_id, "heartbeat"), Registration, body={})

    @route
    def remove(self, worker_id: str) -> Call[RemovedWorker]:
        """`DELETE /agent-workers/workers/{worker_id}`: remove a worker. Its tokens and its attempts end."""
        return Call("DELETE", path("agent-workers", "workers", worker_id), RemovedWorker)

    @stream
    def channel(self, worker_id: str, *, events: Sequence[str] | None = None) -> StreamFollower[WorkerHint]:
        """`GET /agent-workers/workers/{worker_id}/channel`: yield hints for a worker, all or those of the types `events`.

        Each connection begins with a `resync`: hints may have been missed before. A broken or silent connection is
        replaced. Raise RunsteadError where the server has no channel, or is unavailable for longer than the retries.
        """
        return ChannelFollower(worker_id, events)

    @route
    def claim(
        self,
        worker_id: str,
        lease_duration_seconds: int,
        *,
        kinds: Sequence[Kind] | None = None,
        targets: Sequence[str] | None = None,
        wait_seconds: int | None = None,
        max_runs: int | None = None,
        version: str | None = None,
        pinned_targets: Sequence[str] | None = None,
    ) -> Call[Claim]:
        """`POST /agent-workers/workers/{worker_id}/claim`: claim the oldest runs that this worker may claim.

        The lease is 5 to 300 s. With `wait_seconds` (0 to 30) the server answers late, when there is a run. `max_runs`
        is 1 to 100. `version` is that of the code, by default the registered one; runs of `pinned_targets` stay on it.
        A claim without an answer is not repeated: its runs return to the queue when the lease ends.
        """
        body = members(
            lease_duration_seconds=lease_duration_seconds,
            kinds=kinds,
            targets=targets,
            wait_seconds=wait_seconds,
            max_runs=max_runs,
            version=version,
            pinned_targets=pinned_targets,
        )
        where = path("agent-workers", "workers", worker_id, "claim")
        return Call("POST", where, Claim, body=body, repeatable=False, extra_wait_s=float(wait_seconds or 0))

    @route
    def renew_lease(
        self,
        worker_id: str,
        run_id: str,
        lease_duration_seconds: int,
        *,
        attempt: int | None = None,
        lease_token: str | None = None,
    ) -> Call[Lease]:
        """`POST /agent-workers/workers/{worker_id}/runs/{run_id}/lease`: `run` is None where the lease is lost."""
        body = members(lease_duration_seconds=lease_duration_seconds, attempt=attempt)
        where = path("agent-workers", "workers", worker_id, "runs", run_id, "lease")
        return Call("POST", where, Lease, body=body, headers=fence(lease_token))

    @route
    def put_session(
        self,
        worker_id: str,
        run_id: str,
        session_key: str,
        *,
        status: Literal["active", "completed", "failed", "cancelled"] | None = None,
        metadata: Mapping[str, Any] | None = None,
        attempt: int | None = None,
        lease_token: str | None = None,
    ) -> Call[SessionAnswer]:
        """`PUT /agent-workers/workers/{worker_id}/runs/{run_id}/session`: record the worker's own session of a run."""
        body = members(session_key=session_key, status=status, metadata=metadata, attempt=attempt)
        where = path("agent-workers", "workers", worker_id, "runs", run_id, "session")
        return Call("PUT", where, SessionAnswer, body=body, headers=fence(lease_token))

    @route
    def release(
        self,
        worker_id: str,
        run_id: str,
        *,
        error: Any = None,
        retry_after_seconds: int | None = None,
        attempt: int | None = None,
        lease_token: str | None = None,
    ) -> Call[Released]:
        """`POST /agent-workers/workers/{worker_id}/runs/{run_id}/release`: end the attempt without a completion.

        While the run has attempts left, it returns to the queue after `retry_after_seconds`.
        """
        body = members(error=error, retry_after_seconds=retry_after_seconds, attempt=attempt)
        where = path("agent-workers", "workers", worker_id, "runs", run_id, "release")
        headers = fence(lease_token)
        return idempotent("POST", where, Released, body=body, headers=headers)
