"""Routes that create runs, one method for each kind."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack

from runstead.sdk.models.run import CreatedRun
from runstead.sdk.routes.call import Call, members, new_key, path
from runstead.sdk.routes.route import RouteGroup, route


class RunOptions(TypedDict, total=False):
    """Options of runs of every kind.

    `public_id` is the run's id, 1 to 128 characters. The same id again returns the same run, with `duplicate` set.
    `labels` are at most 32 string pairs. The highest `priority` (-100 to 100, default 0) is claimed first. No worker
    can claim the run before `available_at`. `runtime_target_kind` environment and preview_branch need the id of that
    name, main_branch needs none. `idempotency_key` (1 to 255 characters) identifies the request for 24 h.
    """

    public_id: str
    title: str
    labels: Mapping[str, str]
    priority: int
    available_at: datetime
    parent_run_id: str
    runtime_target_kind: Literal["main_branch", "environment", "preview_branch"]
    runtime_target_environment_id: str
    runtime_target_branch_id: str
    idempotency_key: str


class CreateRoutes(RouteGroup):
    """`POST /runs` for each kind of run.

    409 RUN_ID_CONFLICT where a run of another kind, owner or target has the public id. 400 with `errors` for invalid
    values. 404 for a parent that the caller cannot see.
    """

    @route
    def create_run(self, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Call[CreatedRun]:
        """Create a run from the request body: {kind, owner: {kind, id}, request, public_id?, …}.

        Without `owner` the client's project is the owner.
        """
        return _create(dict(body), idempotency_key, None if "owner" in body else self._project(None))

    @route
    def create_task_run(
        self,
        target: str,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,  # noqa: A002 - the member's name on the wire
        name: str | None = None,
        timeout_seconds: int | None = None,
        backoff_limit: int | None = None,
        batch_id: str | None = None,
        project: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Call[CreatedRun]:
        """Create a task run. `target` is `task:…`. `backoff_limit` is how many lost attempts are retried."""
        request = members(
            name=name,
            target=target,
            config=config,
            input=input,
            timeout_seconds=timeout_seconds,
            backoff_limit=backoff_limit,
            batch_id=batch_id,
        )
        return _of_project("task", request, self._project(project), options)

    @route
    def create_workflow_run(
        self,
        workflow_id: str,
        *,
        target: str | None = None,
        input: Any = None,  # noqa: A002 - the member's name on the wire
        config: Mapping[str, Any] | None = None,
        start_mode: str | None = None,
        project: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Call[CreatedRun]:
        """Create a workflow run. `target` is `workflow:<workflow_id>` unless given."""
        request = members(
            workflow_id=workflow_id,
            target=target or f"workflow:{workflow_id}",
            input=input,
            config=config,
            start_mode=start_mode,
        )
        return _of_project("workflow", request, self._project(project), options)

    @route
    def create_eval_run(
        self,
        target: str,
        *,
        input: Any = None,  # noqa: A002 - the member's name on the wire
        config: Mapping[str, Any] | None = None,
        start_mode: str | None = None,
        project: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Call[CreatedRun]:
        """Create an eval run. `target` is `eval:…`."""
        request = members(target=target, input=input, config=config, start_mode=start_mode)
        return _of_project("eval", request, self._project(project), options)

    @route
    def create_agent_run(
        self,
        conversation_id: str,
        agent_id: str,
        *,
        mode: Literal["agent", "default_chat"] = "agent",
        input: Any = None,  # noqa: A002 - the member's name on the wire
        implementation_kind: str | None = None,
        worker_key: str | None = None,
        initial_status: Literal["pending", "running"] | None = None,
        source_target_kind: str | None = None,
        source_target_environment_id: str | None = None,
        source_target_branch_id: str | None = None,
        source_target_release_version: str | None = None,
        trigger: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> Call[CreatedRun]:
        """Create an agent run in a conversation, with a placeholder for its message.

        `input` is the start payload {messages, context, …}. `implementation_kind` and `worker_key` select the workers
        that may claim the run. A pending run with a `public_id` starts when it is created again with an `input`.
        """
        request = members(
            mode=mode,
            agent_id=agent_id,
            input=input,
            implementation_kind=implementation_kind,
            worker_key=worker_key,
            initial_status=initial_status,
            source_target_kind=source_target_kind,
            source_target_environment_id=source_target_environment_id,
            source_target_branch_id=source_target_branch_id,
            source_target_release_version=source_target_release_version,
        )
        body = {"kind": "agent", "owner": {"kind": "conversation", "id": conversation_id}}
        body |= members(trigger=trigger)
        return _create(_with_options(body, request, options), options.get("idempotency_key"), None)

    @route
    def retry(self, run_id: str, *, idempotency_key: str | None = None) -> Call[CreatedRun]:
        """`POST /runs/{run_id}/retry`: create a run with the same request. Its `retry_of` is this run."""
        key = idempotency_key or new_key()
        return Call("POST", path("runs", run_id, "retry"), CreatedRun, body={}, idempotency_key=key)


def _of_project(kind: str, request: dict[str, Any], project: str, options: RunOptions) -> Call[CreatedRun]:
    return _create(_with_options({"kind": kind}, request, options), options.get("idempotency_key"), project)


def _with_options(body: dict[str, Any], request: dict[str, Any], options: RunOptions) -> dict[str, Any]:
    for name, value in options.items():
        if value is not None and name != "idempotency_key":
            (request if name.startswith("runtime_target_") else body)[name] = value
    return {**body, "request": request}


def _create(body: dict[str, Any], idempotency_key: str | None, owner: str | None) -> Call[CreatedRun]:
    key = idempotency_key or new_key()
    return Call("POST", path("runs"), CreatedRun, body=body, idempotency_key=key, owner=owner)
