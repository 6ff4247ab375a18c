"""Steps: done once, with results that are kept; and branches of them that go on at the same time."""

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar, overload

import msgspec

from runstead.sdk.durable.branch import Branch, in_step
from runstead.sdk.durable.emitter import Emitter, LeaseLostError
from runstead.sdk.durable.history import (
    CUSTOM,
    GATHER,
    GATHER_FAILED,
    STEP_FINISHED,
    STEP_RETRIED,
    STEP_STARTED,
    History,
    StepFailure,
)
from runstead.sdk.durable.step_results import (
    StepFailed,
    changed,
    decode_result,
    encode_result,
    step_failure,
    with_timeout,
)
from runstead.sdk.durable.suspension import Suspend, combine
from runstead.sdk.routes.call import members
from runstead.sdk.worker.threads import in_thread

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

_BACKOFF_S_MAX: Final = 300.0
_branch: contextvars.ContextVar[Branch | None] = contextvars.ContextVar("branch", default=None)


def here() -> Branch:
    branch = _branch.get()
    if branch is None:
        raise RuntimeError("Steps and waits are for the functions that an App serves")
    return branch


def backoff_s(first: float, repeats: int) -> float:
    """Before the next repeat, after so many."""
    return min(first * 2.0 ** min(repeats, 30), _BACKOFF_S_MAX)


class StepRunner(Emitter):
    """Of the durable half of a context, what is done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._history = History()
        self._rounds = 0

    # A try of the handler, from its beginning to its end

    def begin(self, history: History, rounds: int | None = None) -> None:
        """Run from the beginning, with this to answer from. `rounds` is how often this attempt has done so by then, where
        it did so in other processes.
        """
        self._history = history
        self._rounds = rounds or self._rounds + 1
        self._trunk = Branch()
        _branch.set(self._trunk)

    def check_finished(self) -> None:
        """The handler has returned. Suspend where it had to wait and was kept from it; RunFailed with NON_DETERMINISTIC
        where the log has more steps than it asked for.
        """
        if self._trunk.left is not None:
            raise self._trunk.left
        beyond = self._history.after(self._trunk.count)
        if beyond is not None:
            raise changed(beyond, self._history.names[beyond], None)

    @property
    def left(self) -> Suspend | None:
        """The wait for which the handler was left, whatever it raised then."""
        return self._trunk.left

    def end(self) -> None:
        """The try is over: what it has left running may not go on."""
        self._trunk.over = True

    @property
    def rounds(self) -> int:
        return self._rounds

    @property
    def branch(self) -> Branch | None:
        """Where the handler is; None for one that is not served by an app, and has no steps."""
        return _branch.get()

    # Steps

    @overload
    async def step(
        self,
        name: str,
        function: Callable[..., Awaitable[T]],
        *args: Any,
        retries: int = 0,
        backoff_seconds: float = 1.0,
        timeout_seconds: float | None = None,
        **kwargs: Any,
    ) -> T: ...
    @overload
    async def step(
        self,
        name: str,
        function: Callable[..., T],
        *args: Any,
        retries: int = 0,
        backoff_seconds: float = 1.0,
        timeout_seconds: float | None = None,
        **kwargs: Any,
    ) -> T: ...
    async def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        retries: int = 0,
        backoff_seconds: float = 1.0,
        timeout_seconds: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call the function once and keep what it returns (any JSON up to 255 KiB): it is not called again, on whatever
        machine the run is taken up. A plain function runs in a thread. The answer is what the JSON says, as the
        function's return annotation reads it.

        It is tried `retries` times more, after a backoff that doubles; `timeout_seconds` bounds each try. StepFailed.
        A worker that dies after the function is done and before its result is stored leaves the step to be done again.
        """
        branch, history = here(), self._history
        step_id = self._enter(branch, name)
        done = history.finished.get(step_id)
        if done is not None:
            if done.error is not None:
                raise StepFailed(name, step_id, done.error)
            return decode_result(done.result, function)
        with branch.busy(name):
            self._start(step_id, name)
            # Whoever has lost the run learns it here, before anything is done.
            await self.flush()
            tries = history.tries.get(step_id, 0)
            while True:
                try:
                    with in_step(name, f"{step_id}/{self.run.attempt}.{self._rounds}.{tries}"):
                        result = await with_timeout(timeout_seconds, self._call(function, args, kwargs))
                    kept = encode_result(result)
                except LeaseLostError:
                    raise
                except Exception as error:
                    failure = step_failure(error)
                    if failure.final or tries >= retries:
                        self._finish(step_id, name, error=failure)
                        await self.flush()
                        raise StepFailed(name, step_id, failure) from error
                    tries += 1
                    self._emit_try(step_id, name, tries, failure)
                    await self.flush()
                    await self._sleep(backoff_s(backoff_seconds, tries - 1))
                else:
                    break
            self._finish(step_id, name, result=kept)
            await self.flush()
        return decode_result(msgspec.json.decode(kept), function)

    async def _call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        result = await in_thread(lambda: function(*args, **kwargs), f"runstead-{self.run.run_id}")
        return await result if inspect.isawaitable(result) else result

    def _enter(self, branch: Branch, name: str) -> str:
        """The id of what comes next; RunFailed with NON_DETERMINISTIC where the log has something else there."""
        step_id = branch.next_id(name)
        known = self._history.names.get(step_id)
        if known is None and step_id in self._history.gathers:
            known = GATHER
        if known is not None and known != name:
            raise changed(step_id, known, name)
        return step_id

    def _start(self, step_id: str, name: str, **more: Any) -> None:
        """Once, however often it is taken up: a started step is ended before it is started again."""
        if step_id not in self._history.begun:
            self._history.begun.add(step_id)
            self.emit_nowait({"type": STEP_STARTED, "stepName": name, "stepId": step_id, **more})

    def _finish(self, step_id: str, name: str, **outcome: Any) -> None:
        self._history.begun.discard(step_id)
        self.emit_nowait({"type": STEP_FINISHED, "stepName": name, "stepId": step_id, **outcome})

    def _emit_try(self, step_id: str, name: str, tries: int, failure: StepFailure) -> None:
        value = {"step_id": step_id, "step_name": name, "tries": tries, "message": failure.message}
        self.emit_nowait({"type": CUSTOM, "name": STEP_RETRIED, "value": value | members(code=failure.code)})

    @overload
    async def gather(self, one: Awaitable[A], two: Awaitable[B], /) -> tuple[A, B]: ...
    @overload
    async def gather(
        self, one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], /
    ) -> tuple[A, B, C]: ...
    @overload
    async def gather(
        self, one: Awaitable[A], two: Awaitable[B], three: Awaitable[C], four: Awaitable[D], /
    ) -> tuple[A, B, C, D]: ...
    @overload
    async def gather(self, *work: Awaitable[T]) -> list[T]: ...
    async def gather(self, *work: Awaitable[Any]) -> Any:
        """Do them at the same time, and answer a list of what they returned, in order. Each may have steps of its own.
        Where one fails the others are cancelled.
        """
        branch = here()
        try:
            place = self._enter(branch, GATHER)
        except BaseException:
            for one in work:
                if inspect.iscoroutine(one):
                    one.close()
            raise
        begun: list[asyncio.Task[Any] | None] = [None] * len(work)

        def begin(number: int) -> asyncio.Task[Any]:
            task = begun[number - 1]
            if task is None:
                context = contextvars.copy_context()
                context.run(_branch.set, branch.below(place, number))
                task = asyncio.create_task(_awaited(work[number - 1]), context=context)
                begun[number - 1] = task
            return task

        try:
            with branch.busy(GATHER):
                failed = self._history.failures.get(place)
                if failed is not None and failed <= len(work):
                    # It is known which one failed. The others were cancelled then, and are not begun again.
                    await self._first_of([begin(failed)], place)
                tasks = [begin(number) for number in range(1, len(work) + 1)]
                await self._first_of(tasks, place)
        finally:
            for one, task in zip(work, begun, strict=True):
                if task is not None:
                    task.cancel()
                elif inspect.iscoroutine(one):
                    one.close()
            await asyncio.gather(*(task for task in begun if task is not None), return_exceptions=True)
        waits = [error for task in tasks if isinstance(error := task.exception(), Suspend)]
        if waits:
            raise branch.leave(combine(waits))
        return [task.result() for task in tasks]

    async def _first_of(self, tasks: "list[asyncio.Task[Any]]", place: str) -> None:
        """Wait until all are done, or one has failed: that is told, and raised."""
        left = set(tasks)
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for number, task in enumerate(tasks, 1):
                if task not in done:
                    continue
                if task.cancelled():
                    raise asyncio.CancelledError
                error = task.exception()
                if error is None or isinstance(error, Suspend):
                    continue
                if isinstance(error, Exception) and place not in self._history.failures:
                    value = {"step_id": place, "branch": number}
                    self.emit_nowait({"type": CUSTOM, "name": GATHER_FAILED, "value": value})
                raise error


async def _awaited(one: Awaitable[T]) -> T:
    return await one
