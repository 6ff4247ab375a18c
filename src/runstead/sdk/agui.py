"""Records the events of AG-UI agents as runs: events of `ag-ui-protocol`, or mappings of the same form."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final

import msgspec

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.durable.context import Context, RunFailed
from runstead.sdk.durable.history import CUSTOM, RESERVED_PREFIX, STEP_FINISHED, STEP_STARTED
from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.run import Run
from runstead.sdk.worker.outbox import Outbox

Events = AsyncIterable[Any] | Iterable[Any]
Metadata = Mapping[str, Any] | Callable[[], Mapping[str, Any] | None]

_MESSAGE_CHARS: Final = 16 * 1024


class End(msgspec.Struct, frozen=True):
    """How an agent's stream ended. `message` is set for RUN_ERROR, and for a stream without RUN_FINISHED."""

    output: Any = None
    metadata: Mapping[str, Any] | None = None
    message: str | None = None
    code: str | None = None


async def record(
    run: Run | str | None,
    events: Events,
    *,
    client: AsyncClient,
    target: str = "task:ag-ui",
    metadata: Metadata | None = None,
) -> Run:
    """Record an agent's events as a run, end the run as the events end, and return it.

    `run` is an existing run, or its id, or None for a new run. Where no run has the id, it is created. A created run
    has the `target`, which no worker should serve.

    Events are stored as they come, many in one request. CUSTOM events named `run.*` and STEP events with a `stepId` are
    dropped. RUN_FINISHED completes the run, and its `result` is the output. RUN_ERROR fails the run, and so does a
    stream without either. An exception of the stream fails the run and is raised. `metadata` is the usage (provider,
    model, inputTokens …), or a function that returns it; it is sent at the end. Reading stops where a client ends the
    run.
    """
    recorded = await _find_or_create(client, run, target)
    run_id = recorded.run_id
    outbox = Outbox(lambda batch: client.events.append(run_id, batch))

    started = bool(recorded.latest_event_id)

    async def emit(event: Mapping[str, Any]) -> None:
        nonlocal started
        if not started and event["type"] != "RUN_STARTED":  # RUN_STARTED starts a pending run
            outbox.put({"type": "RUN_STARTED", "runId": run_id, "threadId": recorded.root_run_id})
        started = True
        outbox.put(event)
        await outbox.drain()

    try:
        try:
            end = await _read(events, emit)
            await outbox.flush()
        except RunsteadError as refusal:
            if refusal.code == "EVENT_RUN_TERMINAL":
                return await client.runs.get(run_id)
            raise
    except BaseException as error:
        with suppress(RunsteadError):
            await outbox.flush()
        with suppress(RunsteadError):
            await _complete(client, run_id, End(message=str(error), code=type(error).__name__), metadata)
        raise
    return await _complete(client, run_id, end, metadata)


async def relay(ctx: Context, events: Events) -> Any:
    """Emit an agent's events in a handler's run, and return the `result` of RUN_FINISHED. Raise RunFailed for RUN_ERROR.

    CUSTOM events named `run.*` and STEP events with a `stepId` are dropped, since they control the handler's run.
    In a step the events are stored once: `await ctx.step("agent", agui.relay, ctx, events)`.
    """
    end = await _read(events, ctx.emit)
    await ctx.flush()
    if end.message is not None:
        raise RunFailed(end.message, end.code)
    if end.metadata is not None:
        ctx.metadata = {**(ctx.metadata or {}), **end.metadata}
    return end.output


async def _find_or_create(client: AsyncClient, run: Run | str | None, target: str) -> Run:
    if isinstance(run, Run):
        return run
    if run is not None:
        try:
            return await client.runs.get(run)
        except RunsteadError as missing:
            if missing.code != "NOT_FOUND":
                raise
    return (await client.runs.create(target, id=run)).run


async def _read(events: Events, emit: Callable[[Mapping[str, Any]], Any]) -> End:
    """Emit every event before the end of the run, and return the end. Reading stops there.

    Events that control a durable run are dropped: an agent must not forge a step or an approval.
    """
    async with aclosing(_each(events)) as each:
        async for item in each:
            event = to_mapping(item)
            if event["type"] == "RUN_FINISHED":
                return _finished(event)
            if event["type"] == "RUN_ERROR":
                message = str(event.get("message") or "The agent failed")[:_MESSAGE_CHARS]
                code = event.get("code")
                return End(message=message, code="AGENT_ERROR" if code is None else str(code)[:128])
            if not _is_reserved(event):
                await emit(event)
    return End(message="The agent's events ended without RUN_FINISHED or RUN_ERROR", code="STREAM_ENDED")


def _is_reserved(event: Mapping[str, Any]) -> bool:
    """Whether only the server or the holder of the run's lease may write the event."""
    if event["type"] == CUSTOM:
        return str(event.get("name")).startswith(RESERVED_PREFIX)
    return event["type"] in (STEP_STARTED, STEP_FINISHED) and event.get("stepId") is not None


def _finished(event: Mapping[str, Any]) -> End:
    output, outcome, usage = event.get("result"), event.get("outcome"), event.get("metadata")
    if isinstance(outcome, dict) and outcome.get("type") != "success":
        # The agent ended with a question. Its answer starts another run.
        output = {"result": output, "outcome": outcome}
    return End(output, usage if isinstance(usage, dict) else None)


async def _each(events: Events) -> AsyncGenerator[Any, None]:
    try:
        if isinstance(events, AsyncIterable):
            async for event in events:
                yield event
        else:
            for event in events:
                yield event
    finally:
        # The source of the events must be closed, since it is not read to its end.
        close = getattr(events, "aclose", None) or getattr(events, "close", None)
        if close is not None:
            closed = close()
            if inspect.isawaitable(closed):
                await closed


def to_mapping(event: Any) -> dict[str, Any]:
    """Convert an event of `ag-ui-protocol`, or a mapping with a string `type`, to a JSON object."""
    if hasattr(event, "model_dump"):
        mapping: Any = event.model_dump(by_alias=True, exclude_none=True, mode="json")
    else:
        mapping = dict(event) if isinstance(event, Mapping) else None
    if not isinstance(mapping, dict) or not isinstance(mapping.get("type"), str):
        raise TypeError(f"This is no AG-UI event: {type(event).__name__}")
    return mapping


async def _complete(client: AsyncClient, run_id: str, end: End, metadata: Metadata | None) -> Run:
    usage = metadata() if callable(metadata) else metadata
    usage = {**(end.metadata or {}), **(usage or {})} or None
    if end.message is None:
        return (await client.runs.complete(run_id, output=end.output, metadata=usage)).run
    return (
        await client.runs.complete(
            run_id,
            "failed",
            metadata=usage,
            error_code=end.code,
            error_message=end.message[:_MESSAGE_CHARS] or "The agent's events could not be read",
        )
    ).run
