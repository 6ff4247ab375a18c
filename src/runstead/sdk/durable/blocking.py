"""Steps and waits for handlers in threads: the methods of `Waits`, each blocking its thread."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, overload
from uuid import UUID

from runstead.sdk.durable.step_options import Step
from runstead.sdk.durable.waits import Child, Waits
from runstead.sdk.models.run import Run
from runstead.sdk.worker.threads import in_thread

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class BlockingContext:
    """The methods of `Waits` for a thread. Each runs in the event loop, and blocks until it returns."""

    def __init__(self, context: Waits, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._loop = loop

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _call(self, function: Callable[[], T]) -> T:
        """Call a function that does not wait, in the event loop's thread."""

        async def call() -> T:
            return function()

        return self._wait(call())

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
        return self._wait(self._context.step(*args, **kwargs))

    def gather(self, *work: Callable[[], T]) -> list[T]:
        """Call the functions concurrently, each in a thread. Each may call steps. As `Context.gather`."""
        name = f"runstead-{self._context.run.run_id}"
        return self._wait(self._gather([in_thread(one, name) for one in work]))

    async def _gather(self, work: list[Coroutine[Any, Any, T]]) -> list[T]:
        return await self._context.gather(*work)

    def sleep(self, seconds: float) -> None:
        """As `Context.sleep`."""
        self._wait(self._context.sleep(seconds))

    def wait_for_approval(self, question: str, *, timeout_seconds: float | None = None) -> bool:
        """As `Context.wait_for_approval`."""
        return self._wait(self._context.wait_for_approval(question, timeout_seconds=timeout_seconds))

    def wait_for_event(self, name: str, *, timeout_seconds: float | None = None) -> Any:
        """As `Context.wait_for_event`."""
        return self._wait(self._context.wait_for_event(name, timeout_seconds=timeout_seconds))

    def spawn(
        self,
        target: str,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,  # noqa: A002 - the member's name on the wire
        title: str | None = None,
    ) -> "ThreadChild":
        """As `Context.spawn`."""
        child = self._wait(self._context.spawn(target, config=config, input=input, title=title))
        return ThreadChild(child, self)

    def now(self) -> datetime:
        """As `Context.now`."""
        return self._call(self._context.now)

    def random(self) -> float:
        """As `Context.random`."""
        return self._call(self._context.random)

    def uuid(self) -> UUID:
        """As `Context.uuid`."""
        return self._call(self._context.uuid)

    def emit_nowait(self, event: Mapping[str, Any]) -> None:
        """As `Context.emit_nowait`."""
        self._call(lambda: self._context.emit_nowait(event))


class ThreadChild:
    """A child run, for a handler in a thread."""

    def __init__(self, child: Child, blocking: BlockingContext) -> None:
        self.run_id = child.run_id
        self._child = child
        self._blocking = blocking

    def result(self, *, check: bool = True) -> Run:
        """As `Child.result`. It blocks the thread."""
        return self._blocking._wait(self._child.result(check=check))  # noqa: SLF001 - part of BlockingContext
