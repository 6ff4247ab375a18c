"""Runs: create, read, complete and cancel them at `/runs…`."""

import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace
from starlette.responses import Response, StreamingResponse

from runstead.commands import create as creating, large_values, runs as commands
from runstead.commands.large_values import Value
from runstead.commands.runs import RunRef
from runstead.commands.targets import unserved_since
from runstead.core import limits
from runstead.core.clock import iso
from runstead.core.identity.principal import for_reading
from runstead.core.runs.run import Run, TerminalStatus
from runstead.core.runs.transitions import Completion, Fence
from runstead.http.create_bodies import CreateRun, JsonValue, new_run
from runstead.http.framework.body import convert, has_nul, invalid
from runstead.http.framework.compression import with_suffix
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes, tag_headers
from runstead.http.framework.values import (
    Count,
    JsonObject,
    Name,
    Positive,
    Small,
    bounded,
    json_object,
    json_value,
)
from runstead.http.run_view import RunView, etag, run_view
from runstead.ports.store import Written

routes = Routes("Runs")

Metadata = JsonObject
MISSING = ("NOT_FOUND", "RUN_ID_AMBIGUOUS")
WRITE = (*MISSING, "ATTEMPT_SUPERSEDED", "ATTEMPT_REQUIRED", "STORE_BUSY", "STORE_UNAVAILABLE")


class InProject(msgspec.Struct, frozen=True):
    """`project` (id or slug) is needed if several of the caller's projects have a run with this id."""

    project: Name | None = None


def run_ref(call: Call[Any, Any]) -> RunRef:
    return RunRef(call.path["run_id"], project=call.query.project)


def fence(call: Call[Any, Any], attempt: int | None = None, worker: str | None = None) -> Fence:
    """Return the fence of a worker's write: `attempt` of the body and the header `X-Lease-Token`.

    `worker` is given where a worker's own token must prove that the worker holds the run.
    """
    return Fence(
        attempt=attempt,
        token=call.header(b"x-lease-token"),
        worker=worker,
        required_in=call.principal.fenced,
    )


class Created(msgspec.Struct, frozen=True, omit_defaults=True):
    """`config_differs`, `input_differs`: the run exists with another value, and that of this request is dropped."""

    accepted: bool
    run: RunView
    duplicate: bool = False
    config_differs: bool = False
    input_differs: bool = False


def created(written: Written) -> Reply:
    transition = written.transition
    marks = ("duplicate", *[f"{name}_differs" for name in transition.differs]) if transition.duplicate else ()
    return Reply(202, {"accepted": True, "run": run_view(written.run), **dict.fromkeys(marks, True)})


@routes.route(
    "POST",
    "/runs",
    body=CreateRun,
    answer=Created,
    status=202,
    errors=(
        "NOT_FOUND",
        "RUN_ID_CONFLICT",
        "PARENT_CANCELLED",
        "QUOTA_REACHED",
        "FAMILY_TOO_DEEP",
        "BATCH_CLOSED",
        "REQUEST_SNAPSHOT_TOO_LARGE",
        "STORE_BUSY",
        "STORE_UNAVAILABLE",
    ),
    location="/runs/{run.run_id}",
    warns=True,
    new_work=True,
)
async def create(call: Call[CreateRun, Nothing]) -> Reply:
    """Create a run. A repeat with the same `public_id` returns the run with `duplicate: true`. So does a request for
    which `unique` or `debounce` finds a run.

    If the repeat has another config or input than the run, the header `Runstead-Warning` names the members
    `config_differs` and `input_differs` of the answer.
    """
    new = new_run(call.body)
    return await call.idempotent(
        lambda idempotency: creating.create(call.app, call.principal, new, idempotency), created
    )


class GetRun(InProject, frozen=True):
    """With `resolve=output`, an output that is stored as an artifact stands in the run in place of its reference."""

    resolve: Literal["output"] | None = None


@routes.route(
    "GET",
    "/runs/{run_id}",
    query=GetRun,
    answer=RunView,
    errors=(*MISSING, "VALUE_NOT_READABLE", "ARTIFACTS_NOT_KEPT"),
    tagged=True,
    streamed_by="resolve",
)
async def get(call: Call[Nothing, GetRun]) -> Reply | Response:
    """Get a run. If `If-None-Match` contains its current ETag, the answer is 304 without a body."""
    run = await commands.get(call.app, for_reading(call.principal), run_ref(call))
    # Not at once: the ETag of a run that was just created or changed stays what that answer had.
    unserved = await unserved_since(call.app, run, after_ms=limits.unserved_ms)
    wanted = call.header(b"if-none-match")
    if wanted is not None:
        tags = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
        tag = etag(run, unserved)
        of_compressed = with_suffix(tag)
        if tags & {tag, of_compressed, "*"}:
            shown = of_compressed if of_compressed in tags and not tags & {tag, "*"} else tag
            return Response(status_code=304, headers=tag_headers(shown))
    if call.query.resolve is not None:
        value = await large_values.output(call.app, run)
        if value is not None:
            return _with_output(run, value)
    view = run_view(run)
    if unserved is not None:
        view = replace(view, unserved_since=iso(unserved), etag=etag(run, unserved))
    return Reply(200, view)


def _with_output(run: Run, value: Value) -> Response:
    """Build the answer with the output in its place. The output is streamed."""
    mark = f'"{uuid.uuid4()}"'.encode()
    view = replace(run_view(run), output=msgspec.Raw(mark))
    before, _, after = msgspec.json.encode(view).partition(mark)

    async def body() -> AsyncIterator[bytes]:
        yield before
        async for chunk in value.chunks():
            yield chunk
        yield after

    headers = tag_headers(etag(run)) | {"Content-Length": str(len(before) + value.size + len(after))}
    return StreamingResponse(body(), 200, headers, "application/json")


class UsageMetadata(msgspec.Struct, frozen=True):
    """The usage of a model. Other members are kept unchanged."""

    provider: str | None = None
    model: str | None = None
    finishReason: str | None = None  # noqa: N815 - the wire's names
    providerRequestId: str | None = None  # noqa: N815
    inputTokens: Count | None = None  # noqa: N815
    outputTokens: Count | None = None  # noqa: N815
    cachedInputTokens: Count | None = None  # noqa: N815
    reasoningTokens: Count | None = None  # noqa: N815
    usageCaptureStatus: Literal["complete", "partial", "missing"] | None = None  # noqa: N815


class Artifact(msgspec.Struct, frozen=True):
    """A reference to a file of the run. Other members are kept unchanged."""

    name: Name
    media_type: str | None = None
    size: Count | None = None
    uri: str | None = None
    sha256: str | None = None


class CompleteRun(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a run. `metadata` is the usage; `output` and `error_detail` are any JSON values."""

    status: TerminalStatus
    metadata: JsonObject | None = None
    terminal_error_code: Annotated[str, Meta(max_length=limits.error_code_chars_max)] | None = None
    terminal_error_message: Annotated[str, Meta(max_length=limits.error_message_chars_max)] | None = None
    output: JsonValue = msgspec.UNSET
    logs: str | None = None
    artifacts: Annotated[list[JsonObject], Meta(max_length=limits.artifacts_max)] | None = None
    exit_code: Small | None = None
    error_detail: JsonValue = msgspec.UNSET
    attempt: Positive | None = None


class Completed(msgspec.Struct, frozen=True):
    """`completed` is true if the run has the status that this call wanted."""

    completed: bool
    run: RunView


def check_members(value: Any, shape: Any, path: str, *, nul: bool) -> None:
    """Check the known members of an object that may have others. `nul`: see `convert`. Raises INVALID_REQUEST."""
    try:
        convert(value, shape, nul=nul)
    except msgspec.ValidationError as error:
        raise invalid(str(error).replace("`$", f"`{path}")) from None


def _bounded_logs(logs: str | None) -> str | None:
    if logs is not None:
        bounded("logs", logs.encode(), limits.logs_bytes_max)
    return logs


@routes.route(
    "POST",
    "/runs/{run_id}/complete",
    body=CompleteRun,
    query=InProject,
    answer=Completed,
    errors=WRITE,
)
async def complete(call: Call[CompleteRun, InProject]) -> Reply:
    """Complete a run. The first completion counts, and is durable when the answer is sent.

    A later call changes nothing: it answers `completed: true` for the same status, `completed: false` for
    another one.
    """
    body = call.body
    nul = has_nul(call.raw)
    if body.metadata is not None:
        check_members(body.metadata, UsageMetadata, "$.metadata", nul=nul)
    if body.artifacts is not None:
        check_members(body.artifacts, list[Artifact], "$.artifacts", nul=nul)
    completion = Completion(
        status=body.status,
        metadata=json_object(body.metadata),
        error_code=body.terminal_error_code,
        error_message=body.terminal_error_message,
        error_detail=json_value(body.error_detail),
        output=json_value(body.output),
        logs=_bounded_logs(body.logs),
        artifacts=None if body.artifacts is None else msgspec.json.encode(body.artifacts),
        exit_code=body.exit_code,
    )
    proof = fence(call, body.attempt)
    return await call.idempotent(
        lambda idempotency: commands.complete(
            call.app, call.principal, run_ref(call), completion, proof, idempotency
        ),
        lambda written: Reply(200, Completed(written.transition.accepted, run_view(written.run))),
    )


class CancelRun(msgspec.Struct, frozen=True):
    """The reason of a cancellation. The body is optional."""

    reason: Annotated[str, Meta(max_length=limits.error_message_chars_max)] | None = None


class Cancelled(msgspec.Struct, frozen=True):
    """`cancelled` is true if this call cancelled the run."""

    cancelled: bool
    run: RunView


@routes.route(
    "POST", "/runs/{run_id}/cancel", body=CancelRun, query=InProject, answer=Cancelled, errors=WRITE
)
async def cancel(call: Call[CancelRun, InProject]) -> Reply:
    """Cancel a run and its descendants."""
    return await call.idempotent(
        lambda idempotency: commands.cancel(
            call.app, call.principal, run_ref(call), call.body.reason, idempotency
        ),
        lambda written: Reply(200, Cancelled(written.transition.accepted, run_view(written.run))),
    )
