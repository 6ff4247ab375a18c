"""Steps, whose functions run once and whose results are stored, and concurrent branches of steps."""

import asyncio
import contextvars
import functools
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, Final, Literal, TypeVar

import msgspec

from runstead.sdk import tracing
from runstead.sdk.durable.branch import Branch, in_step
from runstead.sdk.durable.call_site import CallSite, call_site, definition_site
from runstead.sdk.durable.cleanup import CleanupTime, is_cleanup
from runstead.sdk.durable.emitter import LeaseLostError
from runstead.sdk.durable.history import (
    BLOCKED,
    BLOCKED_CALL,
    GATHER,
    GATHER_FAILED,
    STEP_FINISHED,
    STEP_RETRIED,
    STEP_STARTED,
    FinishedStep,
    History,
    StepFailure,
)
from runstead.sdk.durable.pending_calls import PendingCalls, handled_exception, this_call
from runstead.sdk.durable.result_values import RESULT_BYTES_MAX, decode_result, encode_result
from runstead.sdk.durable.step_errors import hidden_failure, passes_through, step_failure, stored_error
from runstead.sdk.durable.step_options import StepCall, step_call
from runstead.sdk.durable.step_results import (
    ChangedCode,
    ResultNotStoredError,
    StepFailed,
    chain_of,
    exit_as_error,
    with_timeout,
)
from runstead.sdk.durable.suspension import Suspend, WaitRequest, combine
from runstead.sdk.durable.value_store import ValueStore, ValueTooLargeError
from runstead.sdk.errors import RunFailed, ValueNotReadable
from runstead.sdk.models.value import is_encoded, unpacked
from runstead.sdk.routes.call import members
from runstead.sdk.routes.values import HIDDEN_MESSAGE
from runstead.sdk.worker.threads import in_thread

T = TypeVar("T")

logger = logging.getLogger("runstead.sdk.durable")

#: The attribute of an exception with the try and the first step of the blocks that it ran through.
_BLOCK_ATTRIBUTE: Final = "_runstead_block"
_NO_STEP: Final = (None, None)
_BACKOFF_S_MAX: Final = 300.0
#: A run whose code has changed is tried again after a second, and then after at most a minute.
_BLOCKED_S_MAX: Final = 60.0
_TOOL_NAME_CHARS: Final = 255
#: What happens to a run whose code has changed: it waits for code that fits its log, or it fails.
OnChangedCode = Literal["wait", "fail"]
#: Up to so many results of a `gather` are a tuple, whose types a checker knows.
_TUPLE_MAX: Final = 5
_NO_SPAN: Final = nullcontext()
_branch: contextvars.ContextVar[Branch | None] = contextvars.ContextVar("branch", default=None)


def current_branch() -> Branch:
    branch = _branch.get()
    if branch is None:
        raise RuntimeError("Steps and waits are for the functions that an App serves")
    return branch


def backoff_s(first: float, retries: int) -> float:
    """Return the seconds to wait before the next retry, after this many retries."""
    return min(first * 2.0 ** min(retries, 30), _BACKOFF_S_MAX)


class StepRunner(ValueStore):
    """The part of a context that runs steps and records their results."""

    on_changed_code: OnChangedCode = "wait"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._history = History()
        self._tries = 0
        self._cleanup_time = CleanupTime()

    # A try: the handler runs once, from its beginning

    def begin(self, history: History, tries: int | None = None) -> None:
        """Start a try, with the history of the run. `tries` counts this attempt's tries in other processes too."""
        self._history = history
        self._tries = tries or self._tries + 1
        if self.trace is not None and self._tries == 1 and tries is None:
            self.trace.begin(history.traceparent)
        self._log_loop = asyncio.get_running_loop()
        self._root = Branch()
        self.pending = PendingCalls()
        self._stopped_from: str | None = None
        #: The process of the handler is being stopped.
        self.stops_process = False
        _branch.set(self._root)

    def check_finished(self, handler: Callable[..., Any]) -> None:
        """Check a handler that returned.

        Raise Suspend where it caught the exception of a wait. Raise RunFailed with STEP_NOT_AWAITED where it forgot
        to await a call, and the error of changed code where the history has more steps than the handler called.
        """
        if (suspended := self.suspension_behind(None)) is not None:
            raise suspended
        if (forgotten := self.pending.take_unawaited()) is not None:
            name, place = forgotten
            raise RunFailed(
                f"`{name}` was called at {place} and never awaited: write `await {name}(…)`",
                "STEP_NOT_AWAITED",
            )
        unreached = self._history.first_step_after(self._root.count)
        if unreached is not None:
            expected, site = self._history.step_names[unreached], definition_site(handler)
            raise self._changed_code(self._root, unreached, expected=expected, found=None, site=site)

    def suspension_behind(self, error: BaseException | None) -> Suspend | None:
        """Return the wait that ended the handler, whatever it raised afterwards, or None where no wait did.

        Warn where the handler caught the exception of the wait. `error` None: it returned.
        """
        suspended = self._root.suspended
        if suspended is not None and not isinstance(error, BaseExceptionGroup):
            _warn_of_catch(self.run.target, suspended.request.tool_name)
        return suspended

    def first_block_step(self, error: BaseException) -> str | None:
        """Return the first step of the `except` and `finally` blocks that this exception ran through in this try."""
        first = self._stopped_from
        for one in chain_of(error):  # the blocks of a cause ran before those of its effect
            root, step_id = getattr(one, _BLOCK_ATTRIBUTE, _NO_STEP)
            first = step_id if root is self._root else first
        return first

    def note_while_stopping(self, event: Mapping[str, Any]) -> None:
        """Record the first step that a handler's process starts while its try is stopped."""
        if self.stops_process and self._stopped_from is None and event.get("type") == STEP_STARTED:
            self._stopped_from = event.get("stepId")

    @property
    def suspending(self) -> bool:
        """Whether the run waits and this try ends: `finally` and `except` blocks run for a wait, not for a real end."""
        branch = _branch.get()
        return branch is not None and branch.suspended is not None

    def _check_writable(self) -> None:
        branch = _branch.get()
        if branch is not None and branch.suspended is not None and not self._root.closed:
            raise branch.suspended

    def end(self) -> None:
        """End the try: code that it left running may not call steps."""
        self.pending.take_unawaited()
        self._root.closed = True

    @property
    def tries(self) -> int:
        return self._tries

    @property
    def branch(self) -> Branch | None:
        """The branch that runs here. None where no app serves the handler: it has no steps."""
        return _branch.get()

    # Steps

    def step(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Call a function once and store its result; see `Context.step`. Raise StepFailed after the last call."""
        current_branch()
        call, caller = step_call(args, kwargs), this_call(sys._getframe(1))  # noqa: SLF001 - fast
        cleanup = self.stopping and is_cleanup(caller.handles)
        work = self._clean_up(call) if cleanup else self._step(call)
        if caller.place is not None:
            self.pending.add_step(call.name, caller.place)
            if not caller.in_thread:
                self.pending.add("ctx.step", work, caller.place)
        return work

    async def _step(self, call: StepCall) -> Any:
        name, options = call.name, call.options
        branch, history = current_branch(), self._history
        step_id = self._next_step_id(branch, name)
        finished = history.finished.get(step_id)
        if finished is not None:
            return await self._stored_outcome(call, step_id, finished)
        with branch.running(name), self.span("step", name, step_id):
            self._start(step_id, name)
            # A worker that lost the run gets LeaseLostError here, before it calls the function.
            await self.flush()
            failed = history.failed_tries.get(step_id, 0)
            while True:
                try:
                    with in_step(name, f"{step_id}/{self.run.attempt}.{self._tries}.{failed}"):
                        original = await with_timeout(options.timeout, self._call(call))
                    encoded = encode_result(original)
                    result = decode_result(msgspec.json.decode(encoded), call.function, original)
                    stored = await self._stored_result(encoded)
                except LeaseLostError:
                    raise
                except Exception as error:
                    failure = step_failure(error)
                    step = StepFailed(name, step_id, failure)
                    passes = passes_through(error, options.raises, step)
                    if failure.final or passes or failed >= options.retries:
                        self._finish(step_id, name, error=failure)
                        await self.flush()
                        if passes:
                            raise
                        raise step from error
                    failed += 1
                    if self.trace is not None:
                        self.trace.add_error(error)
                    self._emit_retry(step_id, name, failed, failure)
                    await self.flush()
                    await self._sleep(backoff_s(options.backoff, failed - 1))
                else:
                    break
            self._finish(step_id, name, result=stored)
            await self.flush()
        return result

    async def _stored_result(self, text: bytes) -> msgspec.Raw:
        try:
            return await self.stored(text, RESULT_BYTES_MAX)
        except ValueTooLargeError as error:
            raise ResultNotStoredError(
                f"Its result is too large. {error}", "STEP_RESULT_TOO_LARGE"
            ) from error

    async def _stored_outcome(self, call: StepCall, step_id: str, finished: FinishedStep) -> Any:
        """Return the stored result of a step, or raise its failure."""
        failure = finished.error
        if failure is None:
            value = await self.read(self.run.run_id, finished.result)
            try:
                return decode_result(value, call.function)
            except ResultNotStoredError as error:
                failure = step_failure(error)
        elif is_encoded(failure.detail):
            failure = msgspec.convert(await self.read(self.run.run_id, failure.detail), StepFailure)
        raise stored_error(StepFailed(call.name, step_id, failure), call.options.raises)

    async def read(self, run_id: str, value: Any, *, is_reference: bool = True) -> Any:
        """Return a stored value of this run or of a child; see `loaded`. The run waits for a worker that can
        decode it. `is_reference` false: a client sent it, so it is no reference to an artifact.
        """
        try:
            if not is_reference:
                return unpacked(value, self.codec)
            return await self.loaded(run_id, value)
        except ValueNotReadable as error:
            if self.on_changed_code == "fail":
                raise
            raise current_branch().suspend(Suspend(self.blocked_wait(error.detail))) from None

    def blocked_wait(self, why: str, tries: int | None = None) -> WaitRequest:
        """Return the wait of a run for another worker or other code. `tries`: how often it has waited for the same."""
        count = self._history.blocked_tries
        text = "".join(char if char.isprintable() else "?" for char in f"blocked: {why}")
        return WaitRequest(
            reason="event",
            call_id=f"{BLOCKED_CALL}{count + 1}",
            tool_name=text[:_TOOL_NAME_CHARS],
            resume_at=self._now()
            + timedelta(seconds=min(2.0 ** min(count if tries is None else tries, 30), _BLOCKED_S_MAX)),
            blocked=True,
        )

    async def _clean_up(self, call: StepCall) -> Any:
        """Call the function of a step in the cleanup of a cancelled run. No event records it: the run has ended."""
        self.cleaning_up = True
        if not await self.was_cancelled():
            self.cleaning_up = False
            return await self._step(call)
        options, failed = call.options, 0
        while True:
            left_s = self._cleanup_time.left_s(call.name)
            try:
                with in_step(call.name, f"cleanup/{call.name}"):
                    return await with_timeout(min(options.timeout or left_s, left_s), self._call(call))
            except Exception as error:
                step = StepFailed(call.name, "", step_failure(error))
                passes = passes_through(error, options.raises, step)
                if passes:
                    raise
                if step.final or failed >= options.retries:
                    raise step from error
                failed += 1
                await self._sleep(min(backoff_s(options.backoff, failed - 1), left_s))

    async def _call(self, call: StepCall) -> Any:
        _, function, args, kwargs, _ = call
        with exit_as_error():
            if inspect.iscoroutinefunction(function):
                return await function(*args, **kwargs)
            result = await in_thread(lambda: function(*args, **kwargs), f"runstead-{self.run.run_id}")
            return await result if inspect.isawaitable(result) else result

    def _next_step_id(self, branch: Branch, name: str) -> str:
        """Return the id of the next step. Raise the error of changed code where the history has another step."""
        step_id = branch.next_id(name)
        stored = self._history.step_names.get(step_id)
        if stored is None and step_id in self._history.gathers:
            stored = GATHER
        handled = handled_exception()
        if handled is not None and getattr(handled, _BLOCK_ATTRIBUTE, _NO_STEP)[0] is not self._root:
            setattr(handled, _BLOCK_ATTRIBUTE, (self._root, step_id))
        if stored is not None and stored != name:
            raise self._changed_code(branch, step_id, expected=stored, found=name, site=call_site())
        return step_id

    def _changed_code(
        self, branch: Branch, step_id: str, *, expected: str, found: str | None, site: CallSite | None
    ) -> BaseException:
        """Return what ends the try: a wait for code that fits the log, or RunFailed with NON_DETERMINISTIC."""
        place = {} if site is None else site._asdict()
        changed = ChangedCode(step_id=step_id, expected=expected, found=found, **place)
        if self.on_changed_code == "fail":
            return changed.failure()
        history, value = self._history, msgspec.structs.asdict(changed)
        tries = history.blocked_tries - history.blocked_tries_before
        if history.blocks.get(step_id) != value:
            tries = 0
            self._emit_custom(BLOCKED, value)
        return branch.suspend(Suspend(self.blocked_wait(str(changed), tries)))

    def _start(self, step_id: str, name: str, **more: Any) -> None:
        """Emit the start of a step, unless an earlier try emitted it."""
        if step_id not in self._history.started:
            self._history.started[step_id] = name
            if self.trace is not None:
                more |= {name: value for name, value in tracing.headers().items() if name == "traceparent"}
            self.emit_nowait({"type": STEP_STARTED, "stepName": name, "stepId": step_id, **more})

    def span(
        self, kind: Literal["step", "wait", "spawn"], name: str, step_id: str
    ) -> AbstractContextManager[Any]:
        """Return the span of a step, of the start of a wait, or of the creation of a child."""
        return _NO_SPAN if self.trace is None else self.trace.child(kind, name, step_id)

    def _finish(self, step_id: str, name: str, **outcome: Any) -> None:
        self._history.started.pop(step_id, None)
        if self.codec is not None and isinstance(failure := outcome.get("error"), StepFailure):
            outcome["error"] = hidden_failure(failure, self.codec)
        self.emit_nowait({"type": STEP_FINISHED, "stepName": name, "stepId": step_id, **outcome})

    def _emit_retry(self, step_id: str, name: str, failed: int, failure: StepFailure) -> None:
        value = {"step_id": step_id, "step_name": name, "tries": failed}
        value["message"] = failure.message if self.codec is None else HIDDEN_MESSAGE
        self._emit_custom(STEP_RETRIED, value | members(code=failure.code))

    async def gather(self, *work: Awaitable[Any]) -> Any:
        """Await the work concurrently, and return its results in order; see `Context.gather`."""
        branch, numbers = current_branch(), range(1, len(work) + 1)
        tasks: dict[int, asyncio.Task[Any]] = {}

        def start(number: int) -> asyncio.Task[Any]:
            if number not in tasks:
                tasks[number] = self._in_branch(branch.child(gather_id, number), work[number - 1])
            return tasks[number]

        try:
            gather_id = self._next_step_id(branch, GATHER)
            with branch.running(GATHER):
                failed = self._history.failed_branches.get(gather_id)
                if failed is not None and failed <= len(work):
                    # An earlier try recorded which branch failed. The others were cancelled, and do not run again.
                    await self._wait_for_all({failed: start(failed)}, gather_id)
                await self._wait_for_all({number: start(number) for number in numbers}, gather_id)
        finally:
            await end_branches(work, tasks)
        waits = [error for number in numbers if isinstance(error := tasks[number].exception(), Suspend)]
        if waits:
            raise branch.suspend(combine(waits))
        results = [tasks[number].result() for number in numbers]
        return tuple(results) if len(results) <= _TUPLE_MAX else results

    def _in_branch(self, branch: Branch, work: Awaitable[T]) -> "asyncio.Task[T]":
        """Start work whose steps belong to this branch."""
        context = contextvars.copy_context()
        context.run(_branch.set, branch)
        return asyncio.create_task(as_coroutine(work), context=context)

    async def _wait_for_all(self, tasks: "Mapping[int, asyncio.Task[Any]]", gather_id: str) -> None:
        """Wait until all tasks are done, or until one fails. Record which one failed, and raise its exception."""
        failed = await first_outcome(
            tasks, lambda error: error is not None and not isinstance(error, Suspend)
        )
        if failed is None:
            return
        error = tasks[failed].exception()
        assert error is not None
        if isinstance(error, Exception) and gather_id not in self._history.failed_branches:
            value = {"step_id": gather_id, "branch": failed}
            self._emit_custom(GATHER_FAILED, value)
        raise error


async def end_branches(work: Iterable[Awaitable[Any]], tasks: "Mapping[int, asyncio.Task[Any]]") -> None:
    """Cancel the tasks of branches, which are numbered from 1, and close the coroutines that were not started."""
    for number, one in enumerate(work, 1):
        if number in tasks:
            tasks[number].cancel()
        elif inspect.iscoroutine(one):
            one.close()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


async def first_outcome(
    tasks: "Mapping[int, asyncio.Task[Any]]", counts: Callable[[BaseException | None], bool]
) -> int | None:
    """Return the number of the first task whose exception, None for a result, counts. None: all ended without one.

    Raise CancelledError where a task was cancelled.
    """
    pending = set(tasks.values())
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for number, task in tasks.items():
            if task in done:
                if task.cancelled():
                    raise asyncio.CancelledError
                if counts(task.exception()):
                    return number
    return None


@functools.lru_cache(maxsize=1024)
def _warn_of_catch(target: str | None, wait: str) -> None:
    """Warn once for each wait."""
    logger.warning(
        "The handler of %s caught the end of its try at the wait %r and went on. The run waits nevertheless, and the"
        " handler runs again: catch Exception instead of BaseException, or re-raise",
        target,
        wait,
    )


async def as_coroutine(work: Awaitable[T]) -> T:
    """Wrap an awaitable in a coroutine, for a task of its own."""
    with exit_as_error():
        return await work
