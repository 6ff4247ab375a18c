"""Recording agents that speak AG-UI: whatever yields events of `ag-ui-protocol` (or plain mappings like them)."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final

import msgspec

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.durable.context import Context, RunFailed
from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.run import Run
from runstead.sdk.worker.outbox import Outbox

Events = AsyncIterable[Any] | Iterable[Any]
Metadata = Mapping[str, Any] | Callable[[], Mapping[str, Any] | None]

_MESSAGE_CHARS: Final = 16 * 1024


class End(msgspec.Struct, frozen=True):
    """How an agent's stream ended: with RUN_FINISHED, or with RUN_ERROR (or none at all), and then `message` is set."""

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
    """Record the events as a run, and end it as they end; the run as it then stands.

    `run` is one that exists, or the id of one that is made where there is none, or None for a new one. It is made for
    `target`, which no worker should serve. RUN_FINISHED completes it, its `result` is the output; RUN_ERROR fails it, and
    so does a stream that ends without either, or raises (which is raised here too). The rest is stored as it comes, in
    batches. `metadata` (what the models used: provider, model, inputTokens …) goes out with the end; a function is
    asked for it then. Where the run is ended by others, reading stops.
    """
    taken = await _taken(client, run, target)
    run_id = taken.run_id
    outbox = Outbox(lambda batch: client.append_events(run_id, batch))

    begun = bool(taken.latest_event_id)

    async def emit(event: Mapping[str, Any]) -> None:
        nonlocal begun
        if not begun and event["type"] != "RUN_STARTED":  # it sets a new run going
            outbox.put({"type": "RUN_STARTED", "runId": run_id, "threadId": taken.root_run_id})
        begun = True
        outbox.put(event)
        await outbox.drain()

    try:
        try:
            ended = await _read(events, emit)
            await outbox.flush()
        except RunsteadError as refusal:
            if refusal.code == "EVENT_RUN_TERMINAL":
                return await client.get_run(run_id)
            raise
    except BaseException as error:
        with suppress(RunsteadError):
            await outbox.flush()
        with suppress(RunsteadError):
            await _complete(client, run_id, End(message=str(error), code=type(error).__name__), metadata)
        raise
    return await _complete(client, run_id, ended, metadata)


async def relay(ctx: Context, events: Events) -> Any:
    """The same for the run that a handler works on, which ends with the handler: what RUN_FINISHED holds as `result` is
    answered, RUN_ERROR raises RunFailed. RunningStep of a step it is told once:
    `await ctx.step("agent", agui.relay, ctx, events)`.
    """
    ended = await _read(events, ctx.emit)
    await ctx.flush()
    if ended.message is not None:
        raise RunFailed(ended.message, ended.code)
    if ended.metadata is not None:
        ctx.metadata = {**(ctx.metadata or {}), **ended.metadata}
    return ended.output


async def _taken(client: AsyncClient, run: Run | str | None, target: str) -> Run:
    if isinstance(run, Run):
        return run
    if run is not None:
        try:
            return await client.get_run(run)
        except RunsteadError as missing:
            if missing.code != "NOT_FOUND":
                raise
        return (await client.create_task_run(target, public_id=run)).run
    return (await client.create_task_run(target)).run


async def _read(events: Events, emit: Callable[[Mapping[str, Any]], Any]) -> End:
    """Emit every event before the end of the run, and return the end. Reading stops there."""
    async with aclosing(_each(events)) as each:
        async for event in each:
            told = plain(event)
            if told["type"] == "RUN_FINISHED":
                return _finished(told)
            if told["type"] == "RUN_ERROR":
                message = str(told.get("message") or "The agent failed")[:_MESSAGE_CHARS]
                code = told.get("code")
                return End(message=message, code="AGENT_ERROR" if code is None else str(code)[:128])
            await emit(told)
    return End(message="The agent's events ended without RUN_FINISHED or RUN_ERROR", code="STREAM_ENDED")


def _finished(told: Mapping[str, Any]) -> End:
    output, outcome, used = told.get("result"), told.get("outcome"), told.get("metadata")
    if isinstance(outcome, dict) and outcome.get("type") != "success":
        output = {
            "result": output,
            "outcome": outcome,
        }  # it ended with a question, and the answer makes a new run
    return End(output, used if isinstance(used, dict) else None)


async def _each(events: Events) -> AsyncGenerator[Any, None]:
    try:
        if isinstance(events, AsyncIterable):
            async for event in events:
                yield event
        else:
            for event in events:
                yield event
    finally:
        # Whatever makes the events has to learn that nobody reads them any more.
        close = getattr(events, "aclose", None) or getattr(events, "close", None)
        if close is not None:
            closed = close()
            if inspect.isawaitable(closed):
                await closed


def plain(event: Any) -> dict[str, Any]:
    """An event of `ag-ui-protocol`, or a mapping with a string `type`, as JSON has it."""
    if hasattr(event, "model_dump"):
        told: Any = event.model_dump(by_alias=True, exclude_none=True, mode="json")
    else:
        told = dict(event) if isinstance(event, Mapping) else None
    if not isinstance(told, dict) or not isinstance(told.get("type"), str):
        raise TypeError(f"This is no AG-UI event: {type(event).__name__}")
    return told


async def _complete(client: AsyncClient, run_id: str, ended: End, metadata: Metadata | None) -> Run:
    used = metadata() if callable(metadata) else metadata
    used = {**(ended.metadata or {}), **(used or {})} or None
    if ended.message is None:
        return (await client.complete(run_id, output=ended.output, metadata=used)).run
    return (
        await client.complete(
            run_id,
            "failed",
            metadata=used,
            error_code=ended.code,
            error_message=ended.message[:_MESSAGE_CHARS] or "The agent's events could not be read",
        )
    ).run
