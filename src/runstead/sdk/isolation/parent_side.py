"""The worker's side of a handler in a process of its own: it keeps the lease, the outbox and the fence."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol

import msgspec

from runstead.sdk.durable.context import Context
from runstead.sdk.durable.emitter import LeaseLostError, RunFailed
from runstead.sdk.durable.suspension import Suspend
from runstead.sdk.errors import RunsteadError
from runstead.sdk.isolation.channel import Channel
from runstead.sdk.isolation.failure import ProcessFailed, crashed, exit_code
from runstead.sdk.isolation.messages import (
    CallFailed,
    CallResult,
    CompletionData,
    EmitEvent,
    Flush,
    FromHandler,
    LogLine,
    Outcome,
    Raised,
    Returned,
    SendCall,
    StartRun,
    Suspended,
)
from runstead.sdk.models.artifact import Upload
from runstead.sdk.models.event import Event
from runstead.sdk.routes.call import Call

#: How long a process that has told its outcome may take to leave.
_EXIT_TIMEOUT_S: Final = 5.0
_SILENCE_S: Final = 0.5


class ProcessLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler's process may use, and how long it may take to leave after SIGTERM."""

    memory_mb: int | None = None
    cpu_seconds: int | None = None
    stop_seconds: float = 3.0

    def __post_init__(self) -> None:
        if self.memory_mb is not None and self.memory_mb < 64:
            raise ValueError("memory_mb is at least 64: Python itself needs that much")
        if self.cpu_seconds is not None and self.cpu_seconds < 1:
            raise ValueError("cpu_seconds is at least 1")
        if self.stop_seconds < 0:
            raise ValueError("stop_seconds must not be below 0")


class HandlerProcess(Protocol):
    """A process that waits for a `StartRun`, wherever it is."""

    channel: Channel[FromHandler]

    def terminate(self) -> None:
        """SIGTERM for it and all that it started."""

    def kill(self) -> None:
        """SIGKILL for them."""

    def ended(self) -> Awaitable[int | None]:
        """Its exit code, below 0 a signal's number, None where that was lost; once nothing of it is left."""


class Executor(Protocol):
    """Where handlers' processes are started."""

    exact_path: bool

    async def start(self) -> HandlerProcess:
        """ProcessFailed where that cannot be. Cancelled, it leaves nothing behind."""

    async def close(self) -> None: ...


async def run_in_process(
    executor: Executor,
    app: str,
    target: str,
    ctx: Context,
    history: Sequence[Event],
    bounds: ProcessLimits,
    answered: Sequence[str] = (),
) -> Any:
    """Run what serves the target in a process, and answer what it returns. Suspend, RunFailed, ProcessFailed,
    LeaseLostError. Cancelled, it ends the process first.
    """
    begin = StartRun(
        app=app,
        target=target,
        run=msgspec.json.encode(ctx.run),
        history=msgspec.json.encode(history),
        rounds=ctx.rounds,
        sys_path=list(sys.path),
        argv=list(sys.argv),
        exact_path=executor.exact_path,
        answered=list(answered),
        memory_mb=bounds.memory_mb,
        cpu_seconds=bounds.cpu_seconds,
    )
    place = await executor.start()
    talking = asyncio.ensure_future(_exchange(place.channel, begin, ctx))
    ending = asyncio.ensure_future(place.ended())
    try:
        await asyncio.wait([talking, ending], return_when=asyncio.FIRST_COMPLETED)
        await _read_remaining(place.channel, talking)
        outcome = talking.result() if talking.done() else None
        place.channel.close()
        await asyncio.wait([ending], timeout=_EXIT_TIMEOUT_S if outcome else 1.0)
        if not ending.done():
            await _stop(place, ending, bounds.stop_seconds)
    except BaseException:
        await _stop(place, ending, bounds.stop_seconds)
        raise
    finally:
        talking.cancel()
        place.channel.close()
    code = ending.result()
    if code is None and outcome is None:
        raise ProcessFailed("The executor lost the handler's process", "EXECUTOR_LOST")
    if code is not None and ctx.exit_code is None:
        ctx.exit_code = exit_code(code)
    return _result_of(outcome, code, ctx)


async def _read_remaining(channel: Channel[FromHandler], talking: "asyncio.Future[Outcome | None]") -> None:
    """What a process that has ended said last may still be on its way, or wait for the server. Only silence is no reason
    to wait: something that escaped its group may hold the line open.
    """
    taken = -1
    while not talking.done() and not (channel.waiting and channel.taken == taken):
        taken = channel.taken
        await asyncio.wait([talking], timeout=_SILENCE_S)


async def _stop(place: HandlerProcess, ending: "asyncio.Future[int | None]", grace_s: float) -> None:
    """SIGTERM, and after the grace, or where even that is cancelled, SIGKILL."""
    try:
        place.terminate()
        await asyncio.wait([ending], timeout=grace_s)
    finally:
        place.kill()
    await asyncio.wait([ending], timeout=_EXIT_TIMEOUT_S)
    if not ending.done():
        ending.cancel()
        raise ProcessFailed("The handler's process could not be ended", "EXECUTOR_LOST")


def _result_of(outcome: Outcome | None, code: int | None, ctx: Context) -> Any:
    if isinstance(outcome, Returned):
        # What earlier attempts had begun to say, the process has ended.
        ctx.history.ended.update(ctx.history.told)
        return msgspec.json.decode(outcome.output)
    if isinstance(outcome, Suspended):
        raise Suspend(outcome.wanted)
    if isinstance(outcome, Raised):
        detail = msgspec.json.decode(outcome.detail)
        if outcome.outcome == "declared":
            raise RunFailed(outcome.message, outcome.code, detail)
        if outcome.outcome == "lost":
            raise LeaseLostError(outcome.message)
        raise ProcessFailed(
            outcome.message, outcome.code or "CRASHED", detail, outcome.step_id, final=outcome.final
        )
    raise crashed("The handler's process", code or 0)


async def _exchange(channel: Channel[FromHandler], begin: StartRun, ctx: Context) -> Outcome | None:
    """Until the process says what came of it; None where it ended without."""
    channel.put(begin)
    answering: set[asyncio.Task[None]] = set()
    try:
        while (message := await channel.take()) is not None:
            if isinstance(message, Suspended | Returned | Raised):
                return message
            if isinstance(message, EmitEvent):
                # What is refused is raised where the handler asks whether it is stored.
                with contextlib.suppress(LeaseLostError, RunsteadError):
                    ctx.emit_nowait(msgspec.json.decode(message.event))
                    await ctx.drain()
            elif isinstance(message, LogLine):
                ctx.log(message.line)
            elif isinstance(message, CompletionData):
                ctx.metadata = msgspec.json.decode(message.metadata)
                ctx.artifacts = [*ctx.artifacts, *msgspec.json.decode(message.artifacts)]
                ctx.exit_code = message.exit_code
            else:
                # Beside each other: one that takes long must not hold up the steps of other branches.
                task = asyncio.ensure_future(_answer(channel, message, ctx))
                answering.add(task)
                task.add_done_callback(answering.discard)
        return None
    finally:
        for task in answering:
            task.cancel()


async def _answer(channel: Channel[FromHandler], message: Flush | SendCall, ctx: Context) -> None:
    try:
        if isinstance(message, Flush):
            await ctx.flush()
            content: bytes | None = None
        else:
            content = await ctx.send(_call(message))
    except LeaseLostError as error:
        channel.put(CallFailed(number=message.number, detail=str(error), lost=True))
    except RunsteadError as error:
        refused = CallFailed(
            number=message.number,
            detail=error.detail,
            status=error.status,
            code=error.code,
            errors=msgspec.json.encode(error.errors),
            retry_after_s=error.retry_after_s,
        )
        channel.put(refused)
    except Exception as error:  # noqa: BLE001 - the handler waits for an answer, whatever it is
        channel.put(CallFailed(number=message.number, detail=f"{type(error).__name__}: {error}"))
    else:
        channel.put(CallResult(number=message.number, content=content))
        await channel.drain()


def _call(message: SendCall) -> Call[bytes]:
    body: Any = msgspec.UNSET
    if message.content is not None:
        body = Upload(message.content) if message.is_upload else msgspec.Raw(message.content)
    return Call(
        message.method,
        message.path,
        bytes,
        tuple(message.query),
        body,
        message.headers,
        message.idempotency_key,
        message.repeatable,
        message.extra_wait_s,
        message.owner,
    )
