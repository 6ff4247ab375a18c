"""Handles of runs: `client.start(…)` and `client.run(…)` return them."""

import asyncio
import time
from collections.abc import Generator, Sequence
from contextlib import aclosing, closing
from typing import Any, Final, Generic, TypeVar, cast, overload

import msgspec

from runstead.sdk import answers
from runstead.sdk.errors import RunCancelled, RunFailed, UnexpectedAnswerError
from runstead.sdk.models.event import TERMINAL_EVENTS, Event
from runstead.sdk.models.run import Accepted, AccessToken, Cancelled, Run, RunValues, Signalled, Status
from runstead.sdk.resources import Calls
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.log import EventLog
from runstead.sdk.routes.route import (
    AsyncSender,
    Pages,
    Resource,
    S_co,
    SyncSender,
    paged,
    procedure,
    route,
    stream,
)
from runstead.sdk.routes.values import resolve, with_error
from runstead.sdk.transport.run_follower import RunFollower
from runstead.sdk.transport.stream_follower import StreamFollower

T = TypeVar("T")
R = TypeVar("R")
_CALLS: Final = Calls()


class Handle(Resource[S_co], Generic[S_co, T]):
    """One run of a client. `id` is the run's id, `T` the type of its result."""

    def __init__(self, client: S_co, run_id: str, returns: Any = Any) -> None:
        super().__init__(client)
        self.id: Final = run_id
        self._returns = returns

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    @route
    def get(self) -> Call[Run]:
        """Return the run as it is now."""
        return _CALLS.runs.get(self.id)

    @procedure
    def status(self) -> Generator[Call[Any], Any, Status]:
        """Return the run's status: pending, running, waiting, completed, failed or cancelled."""
        run: Run = yield _CALLS.runs.get(self.id)
        return run.status

    @route
    def cancel(self, *, reason: str | None = None) -> Call[Cancelled]:
        """Cancel the run and its descendants that have not ended."""
        return _CALLS.runs.cancel(self.id, reason=reason)

    @route
    def access_token(self, *, expires_in_seconds: int = 3_600, family: bool = False) -> Call[AccessToken]:
        """Return a token for a browser, which reads this run and its events, and nothing else."""
        return _CALLS.runs.access_token(self.id, expires_in_seconds=expires_in_seconds, family=family)

    @route
    def values(self) -> Call[RunValues]:
        """Return the values that the run's handler has set with `ctx.set`, at any time."""
        return _CALLS.runs.values(self.id)

    @route
    def value(self, name: str, default: Any = None) -> Call[Any]:
        """Return one value of the run (any JSON), `default` where it is not set."""
        return _CALLS.runs.value(self.id, name, default)

    @route
    def approve(self, *, reason: str | None = None, tool_call_id: str | None = None) -> Call[Accepted]:
        """Approve what the run asks with `ctx.wait_for_approval`. 409 TOOL_RESULT_NOT_WAITING where it asks nothing.

        `tool_call_id` is needed only where several approvals are open: TOOL_RESULT_CONFLICT lists them.
        """
        return answers.decide(self.id, approved=True, reason=reason, tool_call_id=tool_call_id)

    @route
    def reject(self, *, reason: str | None = None, tool_call_id: str | None = None) -> Call[Accepted]:
        """Reject what the run asks with `ctx.wait_for_approval`; see `approve`."""
        return answers.decide(self.id, approved=False, reason=reason, tool_call_id=tool_call_id)

    @route
    def signal(
        self, name: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> Call[Signalled]:
        """Send a signal, which the run takes once with `ctx.wait_for_event(name)`: now, or when it waits for it."""
        calls = Calls(codec=self._client.codec)
        return calls.runs.signal(self.id, name, payload, idempotency_key=idempotency_key)

    @procedure
    def resume(self, result: Any = None, *, is_error: bool = False) -> answers.Answering:
        """Send the result of the tool, the approval, the event or the form that the run waits for."""
        return answers.resume(self.id, result, is_error=is_error, codec=self._client.codec)

    @paged
    def children(self) -> Pages[Run]:
        """Yield the run's children, oldest first, page by page."""
        return Pages(lambda cursor: _CALLS.runs.children(self.id, cursor=cursor))

    @stream
    def events(
        self,
        *,
        after_event_id: int = 0,
        event_types: Sequence[str] = (),
        include_descendants: bool = False,
        cursor: str | None = None,
    ) -> StreamFollower[Event]:
        """Yield every stored event, and then new events as they come, until the run has ended; see `events.follow`."""
        log = EventLog(self.id, family=include_descendants)
        return RunFollower(log, log.position(after_event_id, cursor), event_types, self._client.project)

    def _end(self) -> RunFollower:
        return RunFollower(EventLog(self.id), 0, TERMINAL_EVENTS, self._client.project)

    def _outcome(self, returns: Any) -> Generator[Call[Any], Any, Any]:
        codec = self._client.codec
        run: Run = yield _CALLS.runs.get(self.id)
        run = with_error(run, codec)
        message = f"Run {self.id} {run.status}" if run.error is None else run.error.message
        code = None if run.error is None else run.error.code
        if run.status == "cancelled":
            raise RunCancelled(message, code)
        if run.status == "failed":
            raise RunFailed(message, code, None if run.error is None else run.error.detail)
        output = yield from resolve(self.id, run.output, codec)
        return decode(output, self._returns if returns is None else returns, self.id)


class RunHandle(Handle[AsyncSender, T]):
    """One run of an `AsyncClient`: its result, events and changes. `T` is the type of the result."""

    @overload
    async def result(self, *, timeout: float | None = None) -> T: ...
    @overload
    async def result(self, returns: type[R], *, timeout: float | None = None) -> R: ...
    async def result(self, returns: Any = None, *, timeout: float | None = None) -> Any:
        """Wait until the run has ended, and return its output.

        `returns` is the type of the result: a dataclass, a msgspec, pydantic or attrs model, or any other annotation.
        Raise RunFailed or RunCancelled with the run's code and message, UnexpectedAnswerError where the output has
        another type, TimeoutError after `timeout` seconds. The run goes on after a timeout.
        """
        async with asyncio.timeout(timeout), aclosing(self._client._follow(self._end())) as end:  # noqa: SLF001
            async for _ in end:
                pass
            return await self._client._perform(self._outcome(returns))  # noqa: SLF001


class BlockingRunHandle(Handle[SyncSender, T]):
    """One run of a `Client`: its result, events and changes. `T` is the type of the result."""

    @overload
    def result(self, *, timeout: float | None = None) -> T: ...
    @overload
    def result(self, returns: type[R], *, timeout: float | None = None) -> R: ...
    def result(self, returns: Any = None, *, timeout: float | None = None) -> Any:
        """Wait until the run has ended, at most `timeout` seconds, and return its output; see `RunHandle.result`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with closing(self._client._follow(self._end(), deadline)) as end:  # noqa: SLF001 - part of the client
            for _ in end:
                pass
        return self._client._perform(self._outcome(returns))  # noqa: SLF001


def decode(output: Any, returns: Any, run_id: str) -> Any:
    """Return the output as a value of the type. Raise UnexpectedAnswerError where it has another."""
    if returns is Any:
        return output
    try:
        return msgspec.convert(output, returns, dec_hook=_validate)
    except msgspec.ValidationError as error:
        reason = str(error)
    name = getattr(returns, "__name__", returns)
    raise UnexpectedAnswerError(f"The output of run {run_id} is not a valid {name}: {reason}", 200)


def _validate(model: type[T], value: Any) -> T:
    """Build a pydantic model, which msgspec does not know. Pydantic itself is not imported."""
    validate = getattr(model, "model_validate", None)
    if validate is None:
        # msgspec reports other exceptions as a wrong value: https://jcristharif.com/msgspec/extending.html
        raise NotImplementedError(
            f"Results are not decoded to {model.__name__}: use a dataclass or a model of msgspec, pydantic or attrs"
        )
    return cast("T", validate(value))
