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
from runstead.sdk.routes.call import Call, members, path
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every, route, stream
from runstead.sdk.transport.followers import ChannelFollower
from runstead.sdk.transport.stream_follower import StreamFollower


class Workers(Resource[S_co]):
    """Workers, and the runs that they claim. 404 for a worker or run that is unknown or not visible to the caller."""

    @endpoint("POST", "/agent-workers/projects/{ref}/workers")
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
        """Register a worker. `version` is that of its code.

        `targets` describe what it serves: `{"target": "task:report", "description": …, "input_schema": {…}}`.

        The same kind and key return the same worker with a new token. Use it with
        `client.with_key(registration.token)`.
        """

    @endpoint("GET", "/agent-workers/projects/{ref}/workers")
    def list(
        self,
        *,
        status: Literal["active", "offline"] | None = None,
        project: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[WorkerPage]:
        """One page of a project's workers, by kind and key.

        A worker that made no call for two minutes is `offline`.
        """

    iter = every(list, RegisteredWorker)

    @endpoint("GET", "/projects/{ref}/targets")
    def targets(
        self, *, project: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> Call[TargetPage]:
        """One page of the targets that a project's workers have registered, by name."""

    iter_targets = every(targets, RegisteredTarget)

    @endpoint("GET", "/agent-workers/projects/{ref}/versions")
    def versions(self, *, project: str | None = None) -> Call[builtins.list[WorkerVersion]]:
        """Workers and runs by the version of the workers' code."""

    @endpoint("POST", "/agent-workers/workers/{worker_id}/heartbeat", body={})
    def heartbeat(self, worker_id: str) -> Call[Registration]:
        """The worker is alive. `token` is None in the answer."""

    @endpoint("DELETE", "/agent-workers/workers/{worker_id}")
    def remove(self, worker_id: str) -> Call[RemovedWorker]:
        """Remove a worker. Its tokens and its attempts end."""

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

    @endpoint("POST", "/agent-workers/workers/{worker_id}/runs/{run_id}/lease")
    def renew_lease(
        self,
        worker_id: str,
        run_id: str,
        lease_duration_seconds: int,
        *,
        attempt: int | None = None,
        lease_token: str | None = None,
    ) -> Call[Lease]:
        """`run` is None where the lease is lost."""

    @endpoint("PUT", "/agent-workers/workers/{worker_id}/runs/{run_id}/session")
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
        """Record the worker's own session of a run."""

    @endpoint("POST", "/agent-workers/workers/{worker_id}/runs/{run_id}/release", key="new")
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
        """End the attempt without a completion.

        While the run has attempts left, it returns to the queue after `retry_after_seconds`.
        """
