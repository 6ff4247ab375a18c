"""Serves functions and coroutines as durable runs: `@app.task("sync-data")` serves `task:sync-data`."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, Unpack, cast, get_args

import msgspec

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.decorator import Decorator
from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.context import Context, LeaseLostError, RunFailed, attempt_of
from runstead.sdk.durable.history import TYPES, History
from runstead.sdk.durable.result_values import checked_output
from runstead.sdk.durable.step_results import exit_as_error, with_timeout
from runstead.sdk.durable.step_runner import OnChangedCode
from runstead.sdk.durable.suspension import Parked, Suspend, WaitRequest
from runstead.sdk.durable.thread_context import ThreadContext
from runstead.sdk.durable.value_store import VALUE_BYTES_MAX
from runstead.sdk.errors import ValueNotReadable
from runstead.sdk.handler_options import HandlerOptions, Isolation, TaskOptions, part, process_limits
from runstead.sdk.isolation.loading import default_name, reference
from runstead.sdk.isolation.local import LocalExecutor
from runstead.sdk.isolation.parent_side import Executor, ProcessLimits, run_in_process
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.value import Codec
from runstead.sdk.routes.call import members
from runstead.sdk.task import CallableTask, RunRequest, Task
from runstead.sdk.worker import schemas
from runstead.sdk.worker.arguments import Arguments
from runstead.sdk.worker.command import Command
from runstead.sdk.worker.cron import Cron, definition
from runstead.sdk.worker.handler import blocks
from runstead.sdk.worker.threads import in_thread
from runstead.sdk.worker.worker import Worker

TargetKind = Literal["task", "workflow", "eval", "agent"]
#: Runs a plain function outside the event loop's thread. The second argument is the thread's name.
RunPlain = Callable[[Callable[[], Any], str], Awaitable[Any]]
_LOCAL_EXECUTOR: Final = LocalExecutor()
_VERSION_CHARS_MAX: Final = 64
_UNDO_RETRIES: Final = 3

logger = logging.getLogger("runstead.sdk.worker.worker")


class Served(msgspec.Struct, frozen=True):
    """A function that serves a target, and its options."""

    function: Callable[..., Any]
    arguments: Arguments
    retries: int
    timeout_seconds: float | None
    limits: ProcessLimits | None = None
    on_changed_code: OnChangedCode = "wait"
    schedule: dict[str, Any] | None = None
    validate_input: bool = False
    pinned: bool = False
    on_cancel: str | None = None  # the target that undoes its runs

    @property
    def blocks(self) -> bool:
        """Whether it is a plain function."""
        return blocks(self.function)


class App:
    """The handlers of a program. `Worker(client, app)`, or `runstead worker module:app`, runs them.

    `name` identifies the app on the server, which keeps the schedules of its code under it: apps of a project that have
    schedules need different names. It defaults to where the app is, as `module:app`.

    `on_changed_code` is for a run whose log does not fit the code that continues it. "wait": the run waits, is shown as
    blocked, and is tried again after 1, 2, 4 … and then every 60 seconds, until fitting code is back. "fail": the run
    fails with NON_DETERMINISTIC. Raise ValueError for another value. It is also for a value that a worker cannot decode.

    A step result above 255 KiB and an output above 1 MiB are kept as artifacts of their run, up to `value_bytes_max`
    bytes. The server has a bound too. `codec` encodes inputs of children, step results, outputs and errors before they
    are sent, and decodes them, the run's own input and the payloads of signals: see `runstead.sdk.codecs`.

    `version` names this version of the code, such as a commit: 1 to 64 characters. A run of a `pinned` target stays with
    workers of the version that claims it first, until it ends; `pinned` is the default of the targets.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        version: str | None = None,
        pinned: bool = False,
        on_changed_code: OnChangedCode = "wait",
        codec: Codec | None = None,
        value_bytes_max: int = VALUE_BYTES_MAX,
    ) -> None:
        if value_bytes_max < 1:
            raise ValueError(f"value_bytes_max is above 0, not {value_bytes_max}")
        if on_changed_code not in get_args(OnChangedCode):
            raise ValueError(f'on_changed_code is "wait" or "fail", not {on_changed_code!r}')
        if version is not None and not 1 <= len(version) <= _VERSION_CHARS_MAX:
            raise ValueError(f"A version has 1 to {_VERSION_CHARS_MAX} characters, not {len(version)}")
        self.version = version
        self._pinned = self._checked_pin(pinned)
        self._name = name
        self._on_changed_code = on_changed_code
        self.codec = codec
        self._value_bytes_max = value_bytes_max
        self._served: dict[str, Served] = {}
        self._executor: Executor | None = None
        #: `module:attribute`, with which another process imports the app. None: it is derived when it is needed.
        self.reference: str | None = None

    @property
    def targets(self) -> list[str]:
        """The targets that the app serves, such as `task:sync-data`."""
        return list(self._served)

    @property
    def target_definitions(self) -> list[dict[str, Any]]:
        """How a worker describes the targets on the server: their docstrings, and JSON Schemas of their type hints."""
        return [
            schemas.definition(
                target, served.function, served.arguments.of_input, validate=served.validate_input
            )
            | members(version=self.version)
            for target, served in self._served.items()
        ]

    @property
    def pinned_targets(self) -> list[str]:
        """Those of the targets whose runs stay on the version that claims them first."""
        return [target for target, served in self._served.items() if served.pinned]

    def task(self, name: str, **options: Unpack[TaskOptions]) -> Decorator:
        """Serve `task:<name>` with a function or coroutine, and return it as a `Task`, which `ctx.spawn` starts.

        The first parameter gets the context if its name is `ctx` or its type is Context or ThreadContext; a handler
        may have none. Each other parameter gets the member of its name of the run's config and input, converted to
        its type; where both have it, the input's. The parameters `config` and `input` get that whole value, and `run`
        the ClaimedRun. A missing member without a default fails the run with INVALID_INPUT. The return value is the
        run's output.

        An exception is retried `retries` times, with a backoff that doubles, and then fails the run. Finished steps
        are not called again. `RunFailed` fails the run at once. `timeout_seconds` bounds each try, without its waits.
        `validate_input=True`: the server refuses runs whose input does not fit the types.
        `pinned` is that of the app by default: see `App`. Raise ValueError for a pinned target of an app without version.
        See `Isolation` for `isolation="process"` and its options, `Cron` for `cron="30 2 * * *"` and its options, and
        `TaskOptions` for `on_cancel=undo`.
        """
        return self._serve(f"task:{name}", options)

    def workflow(self, name: str, **options: Unpack[TaskOptions]) -> Decorator:
        """Serve `workflow:<name>`; see `task`."""
        return self._serve(f"workflow:{name}", options)

    def eval(self, name: str, **options: Unpack[HandlerOptions]) -> Decorator:
        """Serve `eval:<name>`; see `task`."""
        return self._serve(f"eval:{name}", options)

    def agent(self, name: str, **options: Unpack[HandlerOptions]) -> Decorator:
        """Serve the runs of the agent `<name>`; see `task`. `run.request_snapshot` holds the messages and tools."""
        return self._serve(f"agent:{name}", options)

    def command(
        self,
        target: str,
        command: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        output: Literal["file", "stdout"] = "file",
        retries: int = 0,
        timeout_seconds: float | None = None,
        stop_seconds: float = 3.0,
    ) -> None:
        """Serve a target such as `task:build` with a program, `["make", "all"]`, in `cwd`, without a shell.

        The program inherits the environment without RUNSTEAD_… variables; `env` adds to it. Its standard input is the
        run's input as JSON, and RUNSTEAD_CONFIG is the config. Its output is streamed as events, and the last MiB of
        it is the run's log.

        Exit code 0 completes the run. The run's output is the JSON in the file that RUNSTEAD_OUTPUT names, or with
        `output="stdout"` the last line of standard output. Another exit code fails the run with `EXIT_<n>`, a signal
        with CRASHED, after `retries` retries. A cancel and `timeout_seconds` send SIGTERM, and `stop_seconds` later
        SIGKILL to the whole process group.
        """
        handler = Command(command, cwd=cwd, env=env, output=output, stop_seconds=stop_seconds)
        self._serve(target, {"retries": retries, "timeout_seconds": timeout_seconds})(handler.handle)

    def _checked_pin(self, pinned: bool) -> bool:
        if pinned and self.version is None:
            raise ValueError('Runs are pinned to a version: give the app one, as App(version="2026-03-20")')
        return pinned

    def _serve(self, target: str, options: TaskOptions | HandlerOptions) -> Decorator:
        retries, timeout_seconds = options.get("retries", 0), options.get("timeout_seconds")
        pinned = options.get("pinned")
        kind, _, name = target.partition(":")
        if kind not in get_args(TargetKind) or not name or len(target) > 255:
            raise ValueError(f"A target is like task:sync-data, at most 255 characters, not {target!r}")
        if target in self._served:
            raise ValueError(f"{target} is served already")
        if retries < 0 or (timeout_seconds is not None and timeout_seconds <= 0):
            raise ValueError("retries must not be below 0, and timeout_seconds must be above 0")
        unknown = options.keys() - TaskOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"There is no {', '.join(sorted(unknown))}")
        if options.get("validate_input") and self.codec is not None:
            raise ValueError(
                "validate_input is for plain inputs: the server cannot check what the codec encodes"
            )
        limits = process_limits(part(options, Isolation))
        cron = cast(Cron, part(options, Cron))
        stays = self._pinned if pinned is None else self._checked_pin(pinned)
        undo = options.get("on_cancel")
        undone_by = None if undo is None else self._serve_undo(target, undo)

        def register(function: Callable[..., Any]) -> CallableTask[Any, Any, Any, Any]:
            task: CallableTask[Any, Any, Any, Any] = CallableTask(target, function)
            arguments = Arguments(task.function)
            self._served[target] = Served(
                function=task.function,
                arguments=arguments,
                schedule=definition(target, cron, arguments),
                retries=retries,
                timeout_seconds=timeout_seconds,
                limits=limits,
                on_changed_code=self._on_changed_code,
                validate_input=options.get("validate_input", False),
                pinned=stays,
                on_cancel=undone_by,
            )
            return task

        return register

    def _serve_undo(self, target: str, undo: Any) -> str:
        """Serve the function that undoes the runs of a target. Return its own target."""
        if isinstance(undo, Task):
            return undo.target
        own = f"{target}.on_cancel"
        self._serve(own, {"retries": _UNDO_RETRIES})(undo)
        return own

    def served(self, target: str) -> Served:
        """Return what serves a target. Raise RunFailed with TARGET_NOT_SERVED."""
        served = self._served.get(target)
        if served is None:
            raise RunFailed(f"This worker does not serve {target}", "TARGET_NOT_SERVED")
        return served

    #: It begins the span of an attempt itself, once it has read the log.
    reads_history: Final = True

    async def __call__(self, run: ClaimedRun, ctx: Context) -> Any:
        """Handle a run for a worker: call what serves it, from the beginning, with the run's history."""
        served, attempt = self.served(_target_of(run)), attempt_of(ctx)
        is_new = run.attempt == 1 and run.latest_event_id == 0
        as_claimed = msgspec.json.encode(run)
        resumed: set[str] = set()
        claimed = run
        self.prepare(attempt)
        await _register_undo(served, attempt)
        while True:
            events = [] if is_new else [event async for event in attempt.stored_events(run.run_id, TYPES)]
            is_new = False
            history = History(events)
            history.mark_timed_out(resumed)
            attempt.on_changed_code = served.on_changed_code
            attempt.begin(history)
            outcome = await self._try(served, attempt, claimed, events, sorted(resumed))
            if not isinstance(outcome, WaitRequest):
                return outcome
            request = outcome
            if request.blocked:
                logger.warning("Run %s is %s", run.run_id, request.tool_name)
            attempt.store_logs()
            await attempt.flush()
            answer = await attempt.park(request)
            if answer.run.status == "waiting":
                raise Parked
            # The wait is over already: the next try reads its result in the log. If the log has none, a client
            # resumed the run without a result.
            if answer.signal is None:
                resumed.add(request.call_id)
            # Each try gets the run as it was claimed, whatever the handler changed in it.
            claimed = msgspec.json.decode(as_claimed, type=ClaimedRun)

    async def _try(
        self,
        served: Served,
        attempt: Attempt,
        claimed: ClaimedRun,
        events: list[Any],
        resumed: list[str],
    ) -> Any:
        """Call the handler once. Return its output, or the WaitRequest with which this try ends."""
        try:
            try:
                arguments = served.arguments.of(attempt.readable(claimed))
            except ValueNotReadable as error:
                if served.on_changed_code == "fail":
                    raise
                return attempt.blocked_wait(error.detail)
            executor = self._executor or (_LOCAL_EXECUTOR if served.limits else None)
            if executor is None or attempt.has_own_clock:
                output = await call_served(served, attempt, arguments)
                attempt.check_finished(served.function)
            else:
                limits = served.limits or ProcessLimits()
                work = run_in_process(
                    executor, self._own_reference(), _target_of(claimed), attempt, events, limits, resumed
                )
                output = await with_timeout(served.timeout_seconds, work)
        except Suspend as suspend:
            return suspend.request
        except LeaseLostError:
            raise
        except (Exception, BaseExceptionGroup) as error:
            if (suspended := attempt.suspension_behind(error)) is not None:
                return suspended.request
            if (wait := attempt.retry_wait(error, served.retries)) is None:
                raise
            return wait
        else:
            return output
        finally:
            attempt.end()

    def prepare(self, attempt: Attempt) -> None:
        """Give an attempt the codec and the bound of values."""
        attempt.use_values(self.codec, self._value_bytes_max)

    def _own_reference(self) -> str:
        if self.reference is None:
            self.reference = reference(self)
        return self.reference

    async def sync_schedules(self, client: AsyncClient) -> None:
        """Put the schedules of the code on the server, and remove those that it no longer has. A worker does it when
        it starts.

        An app without schedules removes them only if it has a name.
        """
        schedules = [served.schedule for served in self._served.values() if served.schedule is not None]
        if not schedules and self._name is None:
            return
        synced = await client.schedules.sync(schedules, app=self._name or default_name(self))
        for schedule in (*synced.created, *synced.updated):
            logger.info("The schedule of %s starts runs at %s", schedule.source_trigger_id, schedule.schedule)
        for schedule in synced.removed:
            logger.warning("The schedule of %s was removed: the code has none", schedule.source_trigger_id)

    def worker(self, client: AsyncClient, *, executor: Executor | None = None, **options: Any) -> Worker:
        """Return a worker that serves the app's targets. `options` are those of `Worker`.

        With an `executor` every handler runs there; the lease stays with the worker. Close the executor after the
        worker has ended. Raise ValueError for an app without handlers.
        """
        if not self._served:
            raise ValueError(
                "The app serves nothing: register a function with @app.task or another decorator"
            )
        self._executor = executor
        if executor is not None:
            self._own_reference()
        return Worker(
            client,
            self,
            targets=self.targets,
            version=self.version,
            pinned_targets=self.pinned_targets,
            **options,
        )


def _target_of(run: ClaimedRun) -> str:
    return run.target or f"agent:{run.agent_id}"


async def _register_undo(served: Served, attempt: Attempt) -> None:
    """Register what undoes the run, before its handler does anything. Each attempt repeats it under one key."""
    if served.on_cancel is None:
        return
    try:
        run = attempt.readable(attempt.run)
    except ValueNotReadable:
        return  # the handler is not called: the run waits for another worker, or fails
    await attempt.register_compensation(RunRequest(served.on_cancel, run.config, run.input), "on_cancel")


async def call_served(
    served: Served, attempt: Attempt, arguments: dict[str, Any], run_plain: RunPlain | None = None
) -> Any:
    """Call what serves a run. A plain function runs in a thread, or where `run_plain` runs it.

    Raise RunFailed with OUTPUT_INVALID where the output does not fit the return annotation.
    """
    return checked_output(await _call_served(served, attempt, arguments, run_plain), served.function)


async def _call_served(
    served: Served, attempt: Attempt, arguments: dict[str, Any], run_plain: RunPlain | None
) -> Any:
    if not served.blocks:
        ctx = (Context(attempt),) if served.arguments.takes_context else ()
        with exit_as_error():
            return await with_timeout(served.timeout_seconds, served.function(*ctx, **arguments))
    loop = asyncio.get_running_loop()
    thread_ctx = (ThreadContext(attempt, loop),) if served.arguments.takes_context else ()
    name = f"runstead-{attempt.run.run_id}"

    def call() -> Any:
        with exit_as_error():
            return served.function(*thread_ctx, **arguments)

    if run_plain is not None:
        return await with_timeout(served.timeout_seconds, run_plain(call, name))
    working = asyncio.ensure_future(in_thread(call, name))
    try:
        return await with_timeout(served.timeout_seconds, asyncio.shield(working))
    except asyncio.CancelledError:
        if attempt.cancelled:
            # A thread cannot be stopped. It keeps its slot, so that the worker never exceeds its concurrency.
            await asyncio.wait([working])
        raise
