"""The worker's side of a handler in a child process. The worker keeps the lease, the outbox and the fence."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Sequence
from typing import Any, Final, Protocol

import msgspec

from runstead.sdk import tracing
from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.emitter import LeaseLostError
from runstead.sdk.durable.suspension import Suspend
from runstead.sdk.errors import RunFailed, RunsteadError
from runstead.sdk.isolation.channel import Channel
from runstead.sdk.isolation.failure import ProcessFailed, crashed, exit_code
from runstead.sdk.isolation.messages import (
    SAME,
    AskCancelled,
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

#: How long a process that has reported its outcome may take to exit.
_EXIT_TIMEOUT_S: Final = 5.0
_SILENCE_S: Final = 0.5


class ProcessLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler's process may use, and the time from SIGTERM to SIGKILL."""

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
    """A process that waits for a `StartRun` message, on this machine or on a cluster."""

    channel: Channel[FromHandler]

    def terminate(self) -> None:
        """Send SIGTERM to the process group."""

    def kill(self) -> None:
        """Send SIGKILL to the process group."""

    def ended(self) -> Awaitable[int | None]:
        """Wait until the process group has ended, and return the exit code.

        Below 0 it is a signal's number. None: the exit code was lost.
        """


class Executor(Protocol):
    """Starts handlers' processes."""

    exact_path: bool

    async def start(self) -> HandlerProcess:
        """Start a process. Raise ProcessFailed where it cannot be started. A cancelled start leaves no process."""

    async def close(self) -> None: ...


async def run_in_process(
    executor: Executor,
    app: str,
    target: str,
    attempt: Attempt,
    history: Sequence[Event],
    limits: ProcessLimits,
    resumed: Sequence[str] = (),
) -> Any:
    """Run the handler of a target in a process, and return its output.

    Raise Suspend, RunFailed, ProcessFailed or LeaseLostError. A cancel ends the process first.
    """
    start = StartRun(
        app=app,
        target=target,
        run=msgspec.json.encode(msgspec.structs.replace(attempt.run, **tracing.headers())),
        history=msgspec.json.encode(history),
        tries=attempt.tries,
        sys_path=list(sys.path),
        argv=list(sys.argv),
        exact_path=executor.exact_path,
        resumed=list(resumed),
        memory_mb=limits.memory_mb,
        cpu_seconds=limits.cpu_seconds,
    )
    process = await executor.start()
    exchange = asyncio.ensure_future(_exchange(process.channel, start, attempt))
    ending = asyncio.ensure_future(process.ended())
    try:
        await asyncio.wait([exchange, ending], return_when=asyncio.FIRST_COMPLETED)
        await _read_remaining(process.channel, exchange)
        outcome = exchange.result() if exchange.done() else None
        process.channel.close()
        await asyncio.wait([ending], timeout=_EXIT_TIMEOUT_S if outcome else 1.0)
        if not ending.done():
            await _stop(process, ending, limits.stop_seconds)
    except BaseException:
        attempt.stops_process = True
        await _stop(process, ending, limits.stop_seconds)
        raise
    finally:
        exchange.cancel()
        process.channel.close()
    code = ending.result()
    if code is None and outcome is None:
        raise ProcessFailed("The executor lost the handler's process", "EXECUTOR_LOST")
    if code is not None and attempt.exit_code is None:
        attempt.exit_code = exit_code(code)
    return _result_of(outcome, code, attempt)


async def _read_remaining(channel: Channel[FromHandler], exchange: "asyncio.Future[Outcome | None]") -> None:
    """Read the last messages of a process that has ended, until none comes for a while.

    The connection may stay open: a process that escaped the group may hold it.
    """
    received = -1
    while not exchange.done() and not (channel.waiting and channel.received == received):
        received = channel.received
        await asyncio.wait([exchange], timeout=_SILENCE_S)


async def _stop(process: HandlerProcess, ending: "asyncio.Future[int | None]", grace_s: float) -> None:
    """Send SIGTERM, and SIGKILL after `grace_s` or where this is cancelled."""
    try:
        process.terminate()
        await asyncio.wait([ending], timeout=grace_s)
    finally:
        process.kill()
    await asyncio.wait([ending], timeout=_EXIT_TIMEOUT_S)
    if not ending.done():
        ending.cancel()
        raise ProcessFailed("The handler's process could not be ended", "EXECUTOR_LOST")


def _result_of(outcome: Outcome | None, code: int | None, attempt: Attempt) -> Any:
    if isinstance(outcome, Returned):
        # The process has ended the messages that earlier attempts left open.
        attempt.history.ended_messages.update(attempt.history.messages)
        return msgspec.json.decode(outcome.output)
    if isinstance(outcome, Suspended):
        raise Suspend(outcome.request)
    if isinstance(outcome, Raised):
        detail = msgspec.json.decode(outcome.detail)
        if outcome.outcome == "declared":
            raise RunFailed(outcome.message, outcome.code, detail)
        if outcome.outcome == "lost":
            raise LeaseLostError(outcome.message)
        raise ProcessFailed(
            outcome.message,
            outcome.code or "CRASHED",
            detail,
            step_id=outcome.step_id,
            block_step_id=outcome.block_step_id,
            final=outcome.final,
        )
    raise crashed("The handler's process", code or 0)


async def _exchange(channel: Channel[FromHandler], start: StartRun, attempt: Attempt) -> Outcome | None:
    """Exchange messages until the process reports its outcome. Return None where it ended without one."""
    channel.send(start)
    responding: set[asyncio.Task[None]] = set()
    try:
        while (message := await channel.receive()) is not None:
            if isinstance(message, Suspended | Returned | Raised):
                return message
            if isinstance(message, EmitEvent):
                # A refusal is reported to the handler with its next flush.
                with contextlib.suppress(LeaseLostError, RunsteadError):
                    event = msgspec.json.decode(message.event)
                    attempt.note_while_stopping(event)
                    attempt.emit_nowait(event)
                    await attempt.drain()
            elif isinstance(message, LogLine):
                attempt.add_log_line(message.line)
            elif isinstance(message, CompletionData):
                attempt.metadata = msgspec.json.decode(message.metadata)
                attempt.artifacts = [*attempt.artifacts, *msgspec.json.decode(message.artifacts)]
                attempt.exit_code = message.exit_code
            else:
                # Concurrently: a slow call must not delay the steps of other branches.
                task = asyncio.ensure_future(_respond(channel, message, attempt))
                responding.add(task)
                task.add_done_callback(responding.discard)
        return None
    finally:
        for task in responding:
            task.cancel()


async def _respond(
    channel: Channel[FromHandler], message: Flush | AskCancelled | SendCall, attempt: Attempt
) -> None:
    try:
        if isinstance(message, Flush):
            await attempt.flush()
            content: bytes | None = None
        elif isinstance(message, AskCancelled):
            content = b"true" if await attempt.was_cancelled() else b"false"
        else:
            content = await attempt.send(_call(message))
    except LeaseLostError as error:
        channel.send(CallFailed(number=message.number, detail=str(error), lost=True))
    except RunsteadError as error:
        refused = CallFailed(
            number=message.number,
            detail=error.detail,
            status=error.status,
            code=error.code,
            errors=msgspec.json.encode(error.errors),
            retry_after_s=error.retry_after_s,
        )
        channel.send(refused)
    except Exception as error:  # noqa: BLE001 - the handler waits for a response
        channel.send(CallFailed(number=message.number, detail=f"{type(error).__name__}: {error}"))
    else:
        channel.send(CallResult(number=message.number, content=content))
        await channel.drain()


def _call(message: SendCall) -> Call[bytes]:
    body: Any = msgspec.UNSET
    if message.content is not None:
        body = Upload(message.content) if message.is_upload else msgspec.Raw(message.content)
    same = {name: getattr(message, name) for name in SAME}
    return Call(answer=bytes, query=tuple(message.query), body=body, headers=message.headers, **same)
