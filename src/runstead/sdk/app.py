"""Plain functions and coroutines as durable runs: `@app.task("sync-data")` serves `task:sync-data`."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict, TypeVar, Unpack, get_args

import msgspec

from runstead.sdk.async_client import AsyncClient
from runstead.sdk.durable.context import Context, LeaseLostError, RunFailed, ThreadContext
from runstead.sdk.durable.history import TYPES, History
from runstead.sdk.durable.step_results import in_time, is_final
from runstead.sdk.durable.suspension import Parked, Suspend
from runstead.sdk.isolation.loading import reference
from runstead.sdk.isolation.local import Local
from runstead.sdk.isolation.parent_side import Bounds, Executor, confined
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.worker.arguments import Arguments
from runstead.sdk.worker.command import Command
from runstead.sdk.worker.handler import blocks
from runstead.sdk.worker.threads import in_thread
from runstead.sdk.worker.worker import Worker

F = TypeVar("F", bound=Callable[..., Any])
TargetKind = Literal["task", "workflow", "eval", "agent"]
#: Runs a plain function elsewhere than in the event loop's thread; the second argument names the place.
RunPlain = Callable[[Callable[[], Any], str], Awaitable[Any]]
_LOCAL: Final = Local()


class Isolation(TypedDict, total=False):
    """`isolation="process"` runs each try in a process of its own. `memory_mb` bounds its address space, `cpu_seconds`
    the CPU time it may use; past them the run fails with OUT_OF_MEMORY, CPU_TIME_EXCEEDED. It has `stop_seconds`
    (default 3) to leave after SIGTERM, then its process group is killed. A process that a signal ended fails the run
    with CRASHED. All count as tries.
    """

    isolation: Literal["process"] | None
    memory_mb: int | None
    cpu_seconds: int | None
    stop_seconds: float


class Served(msgspec.Struct, frozen=True):
    """What serves a target."""

    function: Callable[..., Any]
    arguments: Arguments
    retries: int
    timeout_seconds: float | None
    bounds: Bounds | None = None

    @property
    def blocks(self) -> bool:
        """Whether it is a plain function."""
        return blocks(self.function)


class App:
    """The runs that a program serves. `Worker(client, app)`, or `runstead worker module:app`, serves them."""

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}
        self._executor: Executor | None = None
        #: `module:attribute`, as a process of its own finds the app. None: it is looked for when it is needed.
        self.reference: str | None = None

    @property
    def targets(self) -> list[str]:
        """As runs name them: `task:sync-data`."""
        return list(self._served)

    def task(
        self,
        name: str,
        *,
        retries: int = 0,
        timeout_seconds: float | None = None,
        **isolation: Unpack[Isolation],
    ) -> Callable[[F], F]:
        """Serve `task:<name>` with a function or coroutine `(ctx, …)`. Its other arguments are the members of the run's
        config and input, by name; `config`, `input` and `run` are the whole of each. What it returns is the output.

        What it raises fails the run, after `retries` more tries with a backoff that doubles; finished steps are not
        done again. `RunFailed` fails it at once. `timeout_seconds` bounds each try, waits not counted.
        `isolation="process"` and what goes with it: see `Isolation`.
        """
        return self._serve(f"task:{name}", retries, timeout_seconds, isolation)

    def workflow(
        self,
        name: str,
        *,
        retries: int = 0,
        timeout_seconds: float | None = None,
        **isolation: Unpack[Isolation],
    ) -> Callable[[F], F]:
        """Serve `workflow:<name>`; see `task`."""
        return self._serve(f"workflow:{name}", retries, timeout_seconds, isolation)

    def eval(
        self,
        name: str,
        *,
        retries: int = 0,
        timeout_seconds: float | None = None,
        **isolation: Unpack[Isolation],
    ) -> Callable[[F], F]:
        """Serve `eval:<name>`; see `task`."""
        return self._serve(f"eval:{name}", retries, timeout_seconds, isolation)

    def agent(
        self,
        name: str,
        *,
        retries: int = 0,
        timeout_seconds: float | None = None,
        **isolation: Unpack[Isolation],
    ) -> Callable[[F], F]:
        """Serve the runs of the agent `<name>`; see `task`. `run.request_snapshot` holds its messages and tools."""
        return self._serve(f"agent:{name}", retries, timeout_seconds, isolation)

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

        It inherits the environment but for RUNSTEAD_…, with `env` over it; the run's input, as JSON, is its standard
        input, and its config is in RUNSTEAD_CONFIG. What it writes is streamed as events, and its last MiB is the run's
        log. Exit code 0 completes the run: the output is the JSON in the file that RUNSTEAD_OUTPUT names, if it wrote
        one, or with `output="stdout"` the last line of its standard output. Another fails it with EXIT_<n>, a signal
        with CRASHED, after `retries` more tries. Cancelled, and after `timeout_seconds`, it gets SIGTERM, and its whole
        process group SIGKILL `stop_seconds` later.
        """
        runs = Command(command, cwd=cwd, env=env, output=output, stop_seconds=stop_seconds)
        self._serve(target, retries, timeout_seconds, {})(runs.handle)

    def _serve(
        self, target: str, retries: int, timeout_seconds: float | None, isolation: Isolation
    ) -> Callable[[F], F]:
        kind, _, name = target.partition(":")
        if kind not in get_args(TargetKind) or not name or len(target) > 255:
            raise ValueError(f"A target is like task:sync-data, at most 255 characters, not {target!r}")
        if target in self._served:
            raise ValueError(f"{target} is served already")
        if retries < 0 or (timeout_seconds is not None and timeout_seconds <= 0):
            raise ValueError("retries must not be below 0, and timeout_seconds must be above 0")
        bounds = _bounds(isolation)

        def register(function: F) -> F:
            self._served[target] = Served(function, Arguments(function), retries, timeout_seconds, bounds)
            return function

        return register

    def served(self, target: str) -> Served:
        """RunFailed with TARGET_NOT_SERVED."""
        served = self._served.get(target)
        if served is None:
            raise RunFailed(f"This worker does not serve {target}", "TARGET_NOT_SERVED")
        return served

    async def __call__(self, run: ClaimedRun, ctx: Context) -> Any:
        """The handler of a worker: call what serves the run, from its beginning, with its history to answer from."""
        target = run.target or f"agent:{run.agent_id}"
        served = self.served(target)
        fresh = run.attempt == 1 and run.latest_event_id == 0
        as_claimed = msgspec.json.encode(run)
        answered: set[str] = set()
        given = run
        while True:
            arguments = served.arguments.of(given)
            events = [] if fresh else await _log(run, ctx)
            history = History(events)
            history.pass_over(answered)
            fresh = False
            ctx.begin(history)
            try:
                executor = self._executor or (_LOCAL if served.bounds else None)
                if executor is None or ctx.time_is_kept:
                    output = await call_served(served, ctx, arguments)
                    ctx.returned()
                else:
                    bounds = served.bounds or Bounds()
                    place = confined(executor, self._found(), target, ctx, events, bounds, sorted(answered))
                    output = await in_time(served.timeout_seconds, place)
            except Suspend as suspension:
                wanted = suspension.wanted
            except LeaseLostError:
                raise
            except Exception as error:
                if ctx.left is not None:  # it was left already, and something in it made a failure of that
                    wanted = ctx.left.wanted
                elif history.retries >= served.retries or is_final(error):
                    raise
                else:
                    wanted = ctx.again(history.retries + 1, served.retries, error)
            else:
                return output
            finally:
                ctx.end()
            ctx.spill()
            await ctx.flush()
            if await ctx.park(wanted):
                raise Parked
            # It was answered while it was asked: on from the log, which has the answer. Where it has none, somebody has
            # ended the wait by hand.
            answered.add(wanted.call_id)
            # The next try gets what was claimed, whatever this one did to that.
            given = msgspec.json.decode(as_claimed, type=ClaimedRun)

    def _found(self) -> str:
        if self.reference is None:
            self.reference = reference(self)
        return self.reference

    def worker(self, client: AsyncClient, *, executor: Executor | None = None, **options: Any) -> Worker:
        """A worker that serves all of it; `options` as `Worker` takes them. With an `executor` every handler runs
        there, and the lease stays here; close it once the worker has ended.
        """
        if not self._served:
            raise ValueError(
                "The app serves nothing: register a function with @app.task or another decorator"
            )
        self._executor = executor
        if executor is not None:
            self._found()
        return Worker(client, self, targets=self.targets, **options)


async def _log(run: ClaimedRun, ctx: Context) -> list[Any]:
    """The events that hold the run's history."""
    events: list[Any] = []
    after = 0
    while True:
        page = await ctx.send(
            ctx.calls.list_events(run.run_id, after_event_id=after, limit=500, event_types=TYPES)
        )
        events += page.data
        if page.page_info.next is None:
            return events
        after = int(page.page_info.next)


async def call_served(
    served: Served, ctx: Context, arguments: dict[str, Any], run_plain: RunPlain | None = None
) -> Any:
    """Call what serves a run, a plain function in a thread or where `run_plain` runs it."""
    if not served.blocks:
        return await in_time(served.timeout_seconds, served.function(ctx, **arguments))
    inner = ThreadContext(ctx, asyncio.get_running_loop())
    name = f"runstead-{ctx.run.run_id}"
    if run_plain is not None:
        work = run_plain(lambda: served.function(inner, **arguments), name)
        return await in_time(served.timeout_seconds, work)
    working = asyncio.ensure_future(in_thread(lambda: served.function(inner, **arguments), name))
    try:
        return await in_time(served.timeout_seconds, asyncio.shield(working))
    except asyncio.CancelledError:
        if ctx.cancelled:
            # Nothing stops a thread: it keeps its place, so that the worker never runs more than it may.
            await asyncio.wait([working])
        raise


def _bounds(isolation: Isolation) -> Bounds | None:
    unknown = isolation.keys() - Isolation.__annotations__.keys()
    if unknown:
        raise TypeError(f"There is no {', '.join(sorted(unknown))}")
    how = isolation.get("isolation")
    if how not in (None, "process"):
        raise ValueError(f'isolation is "process" or None, not {how!r}')
    bounds = {name: value for name, value in isolation.items() if name != "isolation"}
    if how is None and bounds:
        raise ValueError(f'{", ".join(sorted(bounds))} needs isolation="process"')
    return None if how is None else Bounds(**bounds)  # type: ignore[arg-type]  # as Isolation says
