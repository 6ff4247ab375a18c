"""Plain functions and coroutines as durable runs: `@app.task("sync-data")` serves `task:sync-data`."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec

from runstead.sdk.arguments import Arguments
from runstead.sdk.async_client import AsyncClient
from runstead.sdk.context import Context, LeaseLostError, RunFailed, ThreadContext
from runstead.sdk.history import TYPES, History
from runstead.sdk.lease import ClaimedRun
from runstead.sdk.steps import cause_of, in_time
from runstead.sdk.suspension import Parked, Suspend
from runstead.sdk.threads import in_thread
from runstead.sdk.worker import Worker

F = TypeVar("F", bound=Callable[..., Any])
TargetKind = Literal["task", "workflow", "eval", "agent"]


class Served(msgspec.Struct, frozen=True):
    """What serves a target."""

    function: Callable[..., Any]
    arguments: Arguments
    retries: int
    timeout_seconds: float | None


class App:
    """The runs that a program serves. `Worker(client, app)`, or `runstead worker module:app`, serves them."""

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}

    @property
    def targets(self) -> list[str]:
        """As runs name them: `task:sync-data`."""
        return list(self._served)

    def task(self, name: str, *, retries: int = 0, timeout_seconds: float | None = None) -> Callable[[F], F]:
        """Serve `task:<name>` with a function or coroutine `(ctx, …)`. Its other arguments are the members of the run's
        config and input, by name; `config`, `input` and `run` are the whole of each. What it returns is the output.

        What it raises fails the run, after `retries` more tries with a backoff that doubles; finished steps are not
        done again. `RunFailed` fails it at once. `timeout_seconds` bounds each try, waits not counted.
        """
        return self._serve("task", name, retries, timeout_seconds)

    def workflow(
        self, name: str, *, retries: int = 0, timeout_seconds: float | None = None
    ) -> Callable[[F], F]:
        """Serve `workflow:<name>`; see `task`."""
        return self._serve("workflow", name, retries, timeout_seconds)

    def eval(self, name: str, *, retries: int = 0, timeout_seconds: float | None = None) -> Callable[[F], F]:
        """Serve `eval:<name>`; see `task`."""
        return self._serve("eval", name, retries, timeout_seconds)

    def agent(self, name: str, *, retries: int = 0, timeout_seconds: float | None = None) -> Callable[[F], F]:
        """Serve the runs of the agent `<name>`; see `task`. `run.request_snapshot` holds its messages and tools."""
        return self._serve("agent", name, retries, timeout_seconds)

    def _serve(
        self, kind: TargetKind, name: str, retries: int, timeout_seconds: float | None
    ) -> Callable[[F], F]:
        target = f"{kind}:{name}"
        if not name or len(target) > 255:
            raise ValueError("A name has at least one character, and with its kind at most 255")
        if target in self._served:
            raise ValueError(f"{target} is served already")
        if retries < 0 or (timeout_seconds is not None and timeout_seconds <= 0):
            raise ValueError("retries must not be below 0, and timeout_seconds must be above 0")

        def register(function: F) -> F:
            self._served[target] = Served(function, Arguments(function), retries, timeout_seconds)
            return function

        return register

    async def __call__(self, run: ClaimedRun, ctx: Context) -> Any:
        """The handler of a worker: call what serves the run, from its beginning, with its history to answer from."""
        target = run.target or f"agent:{run.agent_id}"
        served = self._served.get(target)
        if served is None:
            raise RunFailed(f"This worker does not serve {target}", "TARGET_NOT_SERVED")
        fresh = run.attempt == 1 and run.latest_event_id == 0
        as_claimed = msgspec.json.encode(run)
        answered: set[str] = set()
        while True:
            # Each try gets what was claimed, whatever the one before it did to that.
            arguments = served.arguments.of(msgspec.json.decode(as_claimed, type=ClaimedRun))
            history = History() if fresh else History(await _log(run, ctx))
            history.pass_over(answered)
            fresh = False
            ctx.begin(history)
            try:
                output = await _call(served, ctx, arguments)
                ctx.returned()
            except Suspend as suspension:
                wanted = suspension.wanted
            except LeaseLostError:
                raise
            except Exception as error:
                if ctx.left is not None:
                    wanted = (
                        ctx.left.wanted
                    )  # it was left already, and something in it made a failure of that
                elif history.retries >= served.retries or _final(error):
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

    def worker(self, client: AsyncClient, **options: Any) -> Worker:
        """A worker that serves all of it; `options` as `Worker` takes them."""
        if not self._served:
            raise ValueError(
                "The app serves nothing: register a function with @app.task or another decorator"
            )
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


def _final(error: Exception) -> bool:
    """Whether another try would come to the same."""
    cause = error if isinstance(error, RunFailed) else cause_of(error)
    return isinstance(cause, RunFailed) or (cause is not None and cause.final)


async def _call(served: Served, ctx: Context, arguments: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(served.function):
        return await in_time(served.timeout_seconds, served.function(ctx, **arguments))
    inner = ThreadContext(ctx, asyncio.get_running_loop())
    work = in_thread(lambda: served.function(inner, **arguments), f"runstead-{ctx.run.run_id}")
    return await in_time(served.timeout_seconds, work)
