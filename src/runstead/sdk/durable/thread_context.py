"""The context of a handler that runs in a thread: the methods of `Context`, each blocking its thread."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Concatenate, Generic, Never, ParamSpec, Self, TypeVar, TypeVarTuple, overload

import msgspec

from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.context import Context, HandlerContext
from runstead.sdk.durable.message_stream import Message, Role, ToolCall
from runstead.sdk.durable.pending_calls import calling_from_thread
from runstead.sdk.durable.races import First
from runstead.sdk.durable.step_options import Step
from runstead.sdk.durable.waits import Child
from runstead.sdk.models.run import Run
from runstead.sdk.task import Task
from runstead.sdk.worker.threads import in_thread

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
Ts = TypeVarTuple("Ts")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")


def _blocking(
    method: Callable[Concatenate[Context, P], Awaitable[T]],
) -> "Callable[Concatenate[ThreadContext, P], T]":
    """Return a method with the types of `method` that blocks until what it returns is done."""

    @functools.wraps(method)
    def call(self: "ThreadContext", *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait(lambda: method(self._context, *args, **kwargs))

    return call  # type: ignore[return-value]  # mypy names the first argument


def _in_loop(method: Callable[Concatenate[Context, P], T]) -> "Callable[Concatenate[ThreadContext, P], T]":
    """Return a method with the types of `method`, which does not wait and is called in the event loop's thread."""

    @functools.wraps(method)
    def call(self: "ThreadContext", *args: P.args, **kwargs: P.kwargs) -> T:
        async def called() -> T:
            return method(self._context, *args, **kwargs)

        return self._wait(called)

    return call  # type: ignore[return-value]  # mypy names the first argument


class ThreadContext(HandlerContext):
    """A `Context` for a plain function, which runs in a thread: nothing is awaited, each method blocks."""

    def __init__(self, attempt: Attempt, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(attempt)
        self._context = Context(attempt)
        self._loop = loop

    def _wait(self, work: Callable[[], Awaitable[T]]) -> T:
        async def called() -> T:
            return await work()

        with calling_from_thread():
            return asyncio.run_coroutine_threadsafe(called(), self._loop).result()

    sleep = _blocking(Context.sleep)
    wait_for_approval = _blocking(Context.wait_for_approval)
    wait_for_event = _blocking(Context.wait_for_event)
    ask = _blocking(Context.ask)
    now = _in_loop(Context.now)
    patched = _in_loop(Context.patched)
    random = _in_loop(Context.random)
    uuid = _in_loop(Context.uuid)
    emit = _blocking(Context.emit)
    emit_many = _blocking(Context.emit_many)
    flush = _blocking(Context.flush)
    progress = _blocking(Context.progress)
    set = _blocking(Context.set)
    usage = _in_loop(Context.usage)
    steps_to_undo = _blocking(Context.steps_to_undo)
    artifact = _blocking(Context.artifact)

    @overload
    def step(
        self, name: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def step(self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def step(self, name: str, function: Callable[[*Ts], Awaitable[T]], /, *args: *Ts, options: Step) -> T: ...
    @overload
    def step(self, name: str, function: Callable[[*Ts], T], /, *args: *Ts, options: Step) -> T: ...
    @overload
    def step(
        self,
        name: str,
        function: Callable[P, Awaitable[T]],
        /,
        options: Step,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...
    @overload
    def step(
        self, name: str, function: Callable[P, T], /, options: Step, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def step(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def step(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def step(self, function: Callable[[*Ts], Awaitable[T]], /, *args: *Ts, options: Step) -> T: ...
    @overload
    def step(self, function: Callable[[*Ts], T], /, *args: *Ts, options: Step) -> T: ...
    @overload
    def step(
        self, function: Callable[P, Awaitable[T]], /, options: Step, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def step(self, function: Callable[P, T], /, options: Step, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def step(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]  # mypy knows no such implementation
        """As `Context.step`."""
        return self._wait(lambda: self._context.step(*args, **kwargs))

    @overload
    def gather(self, one: Callable[[], A], two: Callable[[], B], /) -> tuple[A, B]: ...
    @overload
    def gather(
        self, one: Callable[[], A], two: Callable[[], B], three: Callable[[], C], /
    ) -> tuple[A, B, C]: ...
    @overload
    def gather(
        self, one: Callable[[], A], two: Callable[[], B], three: Callable[[], C], four: Callable[[], D], /
    ) -> tuple[A, B, C, D]: ...
    @overload
    def gather(
        self,
        one: Callable[[], A],
        two: Callable[[], B],
        three: Callable[[], C],
        four: Callable[[], D],
        five: Callable[[], E],
        /,
    ) -> tuple[A, B, C, D, E]: ...
    @overload
    def gather(self, *work: Callable[[], T]) -> list[T]: ...
    def gather(self, *work: Callable[[], Any]) -> Any:
        """As `Context.gather`, of functions: each is called in a thread, and may call steps."""
        return self._wait(lambda: self._context.gather(*map(self._in_thread, work)))

    def first(self, **waits: Callable[[], T]) -> First[T]:
        """As `Context.first`, of functions: `ctx.first(paid=lambda: ctx.wait_for_event("paid"), …)`."""
        return self._wait(
            lambda: self._context.first(**{name: self._in_thread(wait) for name, wait in waits.items()})
        )

    def signals(self, name: str) -> Iterator[Any]:
        """As `Context.signals`: `for message in ctx.signals("chat")`."""
        while True:
            yield self.wait_for_event(name)

    def _in_thread(self, work: Callable[[], T]) -> Coroutine[Any, Any, T]:
        return in_thread(work, f"runstead-{self.run.run_id}")

    @overload
    def spawn(
        self,
        target: Task[P, T],
        /,
        _by_name: Never = ...,
        title: str | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> "ThreadChild[T]": ...
    @overload
    def spawn(
        self,
        target: str,
        /,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,
        title: str | None = None,
    ) -> "ThreadChild[Any]": ...
    def spawn(self, target: Any, /, *args: Any, **arguments: Any) -> "ThreadChild[Any]":
        """As `Context.spawn`."""
        return ThreadChild(self._wait(lambda: self._context.spawn(target, *args, **arguments)), self)

    @overload
    def compensate(
        self,
        target: Task[P, Any],
        /,
        _by_name: Never = ...,
        title: str | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None: ...
    @overload
    def compensate(
        self,
        target: str,
        /,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,
        title: str | None = None,
    ) -> None: ...
    def compensate(self, target: Any, /, *args: Any, title: str | None = None, **arguments: Any) -> None:
        """As `Context.compensate`."""
        self._wait(lambda: self._context.compensate(target, *args, title=title, **arguments))

    # Messages

    def text(self, whole: str | None = None, *, role: Role = "assistant") -> "ThreadMessage":
        """Emit a message: `ctx.text("Hello")`, or in parts `with ctx.text() as message: message.write("Hel")`."""
        return self._write(self._context.text(whole, role=role), is_whole=whole is not None)

    def reasoning(self, whole: str | None = None) -> "ThreadMessage":
        """Emit reasoning of the model, as `text` emits a message."""
        return self._write(self._context.reasoning(whole), is_whole=whole is not None)

    def tool_call(self, name: str, arguments: Any = None, *, result: Any = msgspec.UNSET) -> "ThreadMessage":
        """Emit a tool call: `ctx.tool_call("search", {"q": "x"}, result=found)`, or in parts with
        `with ctx.tool_call("search", {"q": "x"}) as call: call.result = search("x")`.
        """
        call = self._context.tool_call(name, arguments, result=result)
        return self._write(call, is_whole=result is not msgspec.UNSET)

    def _write(self, message: Message | ToolCall, *, is_whole: bool) -> "ThreadMessage":
        if is_whole:
            self._wait(message.write_whole)
        return ThreadMessage(message, self)


class ThreadMessage:
    """A message, reasoning or tool call that a handler in a thread emits in parts. `id` is its id in the events.

    For a tool call, set `result` (any JSON); set `is_error` too where the result is an error.
    """

    def __init__(self, message: Message | ToolCall, context: ThreadContext) -> None:
        self._message = message
        self._wait = context._wait  # noqa: SLF001 - part of ThreadContext
        self.result: Any = msgspec.UNSET
        self.is_error = False

    @property
    def id(self) -> str:
        return self._message.id

    def write(self, delta: str) -> None:
        """Emit the next part."""
        self._wait(lambda: self._message.write(delta))

    def __enter__(self) -> Self:
        self._wait(self._message.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._message, ToolCall) and self.result is not msgspec.UNSET:
            self._message.result, self._message.is_error = self.result, self.is_error
        self._wait(lambda: self._message.__aexit__(kind, error, trace))


class ThreadChild(Generic[T_co]):
    """A child run, for a handler in a thread. Its methods block, as those of `Child`."""

    def __init__(self, child: Child[T_co], context: ThreadContext) -> None:
        self.id = child.id
        self._child = child
        self._context = context

    @overload
    def result(self) -> T_co: ...
    @overload
    def result(self, type: type[U], /) -> U: ...
    def result(self, *types: Any) -> Any:
        """As `Child.result`."""
        return self._context._wait(lambda: self._child.result(*types))  # noqa: SLF001 - part of ThreadContext

    def wait(self) -> Run:
        """As `Child.wait`."""
        return self._context._wait(self._child.wait)  # noqa: SLF001 - part of ThreadContext
