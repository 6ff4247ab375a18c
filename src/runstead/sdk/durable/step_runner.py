"""Steps, whose functions run once and whose results are stored, and concurrent branches of steps."""

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

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
from runstead.sdk.durable.step_options import step_call
from runstead.sdk.durable.step_results import (
    StepFailed,
    decode_result,
    encode_result,
    non_deterministic,
    step_failure,
    with_timeout,
)
from runstead.sdk.durable.suspension import Suspend, combine
from runstead.sdk.routes.call import members
from runstead.sdk.worker.threads import in_thread

T = TypeVar("T")

_BACKOFF_S_MAX: Final = 300.0
#: Up to so many results of a `gather` are a tuple, whose types a checker knows.
_TUPLE_MAX: Final = 5
_branch: contextvars.ContextVar[Branch | None] = contextvars.ContextVar("branch", default=None)


def current_branch() -> Branch:
    branch = _branch.get()
    if branch is None:
        raise RuntimeError("Steps and waits are for the functions that an App serves")
    return branch


def backoff_s(first: float, retries: int) -> float:
    """Return the seconds to wait before the next retry, after this many retries."""
    return min(first * 2.0 ** min(retries, 30), _BACKOFF_S_MAX)


class StepRunner(Emitter):
    """The part of a context that runs steps and records their results."""

    _now: Callable[[], datetime] = staticmethod(lambda: datetime.now(UTC))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._history = History()
        self._tries = 0

    # A try: the handler runs once, from its beginning

    def begin(self, history: History, tries: int | None = None) -> None:
        """Start a try, with the history of the run. `tries` counts this attempt's tries in other processes too."""
        self._history = history
        self._tries = tries or self._tries + 1
        self._root = Branch()
        _branch.set(self._root)

    def check_finished(self) -> None:
        """Check a handler that returned.

        Raise Suspend where it caught the exception of a wait. Raise RunFailed with NON_DETERMINISTIC where the
        history has more steps than the handler called.
        """
        if self._root.suspended is not None:
            raise self._root.suspended
        unreached = self._history.first_step_after(self._root.count)
        if unreached is not None:
            raise non_deterministic(unreached, self._history.step_names[unreached], None)

    @property
    def suspended(self) -> Suspend | None:
        """The wait that ended the handler, whatever the handler raised afterwards."""
        return self._root.suspended

    def end(self) -> None:
        """End the try: code that it left running may not call steps."""
        self._root.closed = True

    @property
    def tries(self) -> int:
        return self._tries

    @property
    def branch(self) -> Branch | None:
        """The branch that runs here. None where no app serves the handler: it has no steps."""
        return _branch.get()

    # Steps

    async def step(self, *args: Any, **kwargs: Any) -> Any:
        """Call a function once and store its result; see `Context.step`. Raise StepFailed after the last call."""
        name, function, own_args, own_kwargs, options = step_call(args, kwargs)
        branch, history = current_branch(), self._history
        step_id = self._next_step_id(branch, name)
        finished = history.finished.get(step_id)
        if finished is not None:
            if finished.error is not None:
                raise StepFailed(name, step_id, finished.error)
            return decode_result(finished.result, function)
        with branch.running(name):
            self._start(step_id, name)
            # A worker that lost the run gets LeaseLostError here, before it calls the function.
            await self.flush()
            failed = history.failed_tries.get(step_id, 0)
            while True:
                try:
                    with in_step(name, f"{step_id}/{self.run.attempt}.{self._tries}.{failed}"):
                        result = await with_timeout(
                            options.timeout, self._call(function, own_args, own_kwargs)
                        )
                    encoded = encode_result(result)
                except LeaseLostError:
                    raise
                except Exception as error:
                    failure = step_failure(error)
                    if failure.final or failed >= options.retries:
                        self._finish(step_id, name, error=failure)
                        await self.flush()
                        raise StepFailed(name, step_id, failure) from error
                    failed += 1
                    self._emit_retry(step_id, name, failed, failure)
                    await self.flush()
                    await self._sleep(backoff_s(options.backoff, failed - 1))
                else:
                    break
            self._finish(step_id, name, result=encoded)
            await self.flush()
        return decode_result(msgspec.json.decode(encoded), function)

    async def _call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        result = await in_thread(lambda: function(*args, **kwargs), f"runstead-{self.run.run_id}")
        return await result if inspect.isawaitable(result) else result

    def _next_step_id(self, branch: Branch, name: str) -> str:
        """Return the id of the next step. Raise RunFailed with NON_DETERMINISTIC where the history has another step."""
        step_id = branch.next_id(name)
        stored = self._history.step_names.get(step_id)
        if stored is None and step_id in self._history.gathers:
            stored = GATHER
        if stored is not None and stored != name:
            raise non_deterministic(step_id, stored, name)
        return step_id

    def _start(self, step_id: str, name: str, **more: Any) -> None:
        """Emit the start of a step, unless an earlier try emitted it."""
        if step_id not in self._history.started:
            self._history.started[step_id] = name
            self.emit_nowait({"type": STEP_STARTED, "stepName": name, "stepId": step_id, **more})

    def _finish(self, step_id: str, name: str, **outcome: Any) -> None:
        self._history.started.pop(step_id, None)
        self.emit_nowait({"type": STEP_FINISHED, "stepName": name, "stepId": step_id, **outcome})

    def _emit_retry(self, step_id: str, name: str, failed: int, failure: StepFailure) -> None:
        value = {"step_id": step_id, "step_name": name, "tries": failed, "message": failure.message}
        self.emit_nowait({"type": CUSTOM, "name": STEP_RETRIED, "value": value | members(code=failure.code)})

    async def gather(self, *work: Awaitable[Any]) -> Any:
        """Await the work concurrently, and return its results in order; see `Context.gather`."""
        branch = current_branch()
        try:
            gather_id = self._next_step_id(branch, GATHER)
        except BaseException:
            for one in work:
                if inspect.iscoroutine(one):
                    one.close()
            raise
        started: list[asyncio.Task[Any] | None] = [None] * len(work)

        def start(number: int) -> asyncio.Task[Any]:
            task = started[number - 1]
            if task is None:
                task = self._in_branch(branch.child(gather_id, number), work[number - 1])
                started[number - 1] = task
            return task

        try:
            with branch.running(GATHER):
                failed = self._history.failed_branches.get(gather_id)
                if failed is not None and failed <= len(work):
                    # An earlier try recorded which branch failed. The others were cancelled, and do not run again.
                    await self._wait_for_all([start(failed)], gather_id)
                tasks = [start(number) for number in range(1, len(work) + 1)]
                await self._wait_for_all(tasks, gather_id)
        finally:
            for one, task in zip(work, started, strict=True):
                if task is not None:
                    task.cancel()
                elif inspect.iscoroutine(one):
                    one.close()
            await asyncio.gather(*(task for task in started if task is not None), return_exceptions=True)
        waits = [error for task in tasks if isinstance(error := task.exception(), Suspend)]
        if waits:
            raise branch.suspend(combine(waits))
        results = [task.result() for task in tasks]
        return tuple(results) if len(results) <= _TUPLE_MAX else results

    def _in_branch(self, branch: Branch, work: Awaitable[T]) -> "asyncio.Task[T]":
        """Start work whose steps belong to this branch."""
        context = contextvars.copy_context()
        context.run(_branch.set, branch)
        return asyncio.create_task(as_coroutine(work), context=context)

    async def _wait_for_all(self, tasks: "list[asyncio.Task[Any]]", gather_id: str) -> None:
        """Wait until all tasks are done, or until one fails. Record which one failed, and raise its exception."""
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for number, task in enumerate(tasks, 1):
                if task not in done:
                    continue
                if task.cancelled():
                    raise asyncio.CancelledError
                error = task.exception()
                if error is None or isinstance(error, Suspend):
                    continue
                if isinstance(error, Exception) and gather_id not in self._history.failed_branches:
                    value = {"step_id": gather_id, "branch": number}
                    self.emit_nowait({"type": CUSTOM, "name": GATHER_FAILED, "value": value})
                raise error


async def as_coroutine(work: Awaitable[T]) -> T:
    """Wrap an awaitable in a coroutine."""
    return await work
