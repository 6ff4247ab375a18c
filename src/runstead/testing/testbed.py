"""A server and a worker for tests of an app."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Never, ParamSpec, Self, overload

from runstead.sdk import App, AsyncClient, Context, Worker
from runstead.sdk.durable.context import attempt_of
from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.event import Event, Published
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.run import Run, Signalled
from runstead.sdk.routes.create import RunBudget
from runstead.sdk.task import Task, start_request
from runstead.testing.clock import Clock
from runstead.testing.server import Server

#: The default start of a testbed's time.
START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)

#: How many turns of the event loop without work of the store pass before the clock moves to the end of a handler's sleep.
_TURNS: Final = 100
_STORE_PAUSE_S: Final = 0.001


P = ParamSpec("P")


class Testbed:
    """The real server and the real worker in one process, on SQLite in a temporary directory, with the test's clock.

        async with Testbed(app) as bed:
            run = await bed.run("task:sync-data", config={"url": "x"})
            assert run.status == "waiting"
            await bed.approve(run)
            assert (await bed.result(run)).output == {"rows": 3}

    Each method returns when no run can continue: each one has ended, waits, or has no handler. The clock moves by
    itself over backoffs and over sleeps of up to a second. All other waits last until `advance`. For calls without a
    method use `client`, and `settle()` afterwards. `start` is the first time of the clock. `real_timeout_seconds` bounds
    the real time of handlers.
    """

    __test__ = False  # for pytest, which takes the name for a test's

    def __init__(
        self, app: App, *, start: datetime = START, concurrency: int = 16, real_timeout_seconds: float = 30.0
    ) -> None:
        self.clock = Clock(start)
        self._app = app
        self.server = Server(self.clock)
        self._concurrency = concurrency
        self._real_timeout_s = real_timeout_seconds
        self._client: AsyncClient | None = None
        self._worker: Worker | None = None

    async def __aenter__(self) -> Self:
        self._client = await self.server.open(self.settle, self._real_timeout_s, self._app.codec)
        await self._start_worker()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.server.close()

    async def deploy(self, app: App) -> None:
        """Continue with a worker of another app, as after a deployment of changed code."""
        self._app = app
        await self._start_worker()
        await self.settle()

    async def _start_worker(self) -> None:
        await self._app.sync_schedules(self.client)
        self._worker = Worker(
            self.client,
            self._handle,
            targets=self._app.targets,
            target_definitions=self._app.target_definitions,
            version=self._app.version,
            pinned_targets=self._app.pinned_targets,
            worker_key="testbed",
            lease_seconds=300,
            concurrency=self._concurrency,
            clock=self.clock.seconds,
            sleep=self.clock.sleep,
        )

    async def _handle(self, run: ClaimedRun, ctx: Context) -> Any:
        attempt_of(ctx).use_clock(self.clock.now, self.clock.handler_sleep)
        return await self._app(run, ctx)

    @property
    def client(self) -> AsyncClient:
        """A client of the server, with every scope in its project."""
        assert self._client is not None, "Enter the testbed first: async with Testbed(app) as bed"
        return self._client

    @property
    def now(self) -> datetime:
        """The time of the clock."""
        return self.clock.now()

    @overload
    async def run(
        self,
        target: Task[P, Any],
        /,
        _by_name: Never = ...,
        id: str | None = None,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        priority: int | None = None,
        available_at: datetime | None = None,
        budget: RunBudget | None = None,
        project: str | None = None,
        concurrency_key: str | None = None,
        unique: Mapping[str, Any] | None = None,
        debounce: Mapping[str, Any] | None = None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Run: ...
    @overload
    async def run(
        self,
        target: str,
        /,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,
        **options: Any,
    ) -> Run: ...
    async def run(self, target: Any, /, *args: Any, **options: Any) -> Run:
        """Create a run, and return it when it cannot continue: `await bed.run(order, item="tea")`.

        `order` is a function with a decorator of the app. A string is a target `task:…`, `workflow:…`, `eval:…` or
        `agent:…`, with `config`, `input` and the other options of `client.runs.create`. An agent's run gets a new
        conversation, and its `input` ({messages, context, …}) as `request_snapshot`.
        """
        target, options, _ = start_request(target, args, options, Any)
        if target.startswith("agent:"):
            options = {
                "conversation_id": (await self.client.conversations.create()).id,
                "implementation_kind": "python",
                **options,
            }
            if options.get("input") is None:
                options["input"] = {"messages": []}
        created = await self.client.runs.create(target, **options)
        await self.settle()
        return await self.get(created.run)

    async def get(self, run: Run | str) -> Run:
        """Return the run as it is now, with its values as its handler and its client gave them."""
        return await self.client.decoded(await self.client.runs.get(_id(run)))

    async def result(self, run: Run | str) -> Run:
        """Return a run that has ended. Raise AssertionError with its state where it has not."""
        now = await self.get(run)
        if not now.terminal:
            raise AssertionError(f"Run {now.run_id} has not ended: {_state(now)}")
        return now

    async def approve(self, run: Run | str, approved: Any = True) -> None:
        """Answer `ctx.wait_for_approval` of a run. Raise AssertionError where the run does not wait for it."""
        now = await self.get(run)
        call_id = now.waiting_tool_call_id if _awaited(now) == "approval" else None
        try:
            await self.client.runs.resume(now.run_id, approved, type="approval", tool_call_id=call_id)
        except RunsteadError as error:
            if error.code in _NOT_AWAITED:
                raise AssertionError(f"Run {now.run_id} does not wait for approval: {_state(now)}") from None
            raise
        await self.settle()

    async def respond(self, run: Run | str, values: Mapping[str, Any]) -> None:
        """Fill in the form of `ctx.ask`. Raise AssertionError where the run waits for no form."""
        now = await self.get(run)
        if now.waiting_reason != "input" or now.conversation_id is None:
            raise AssertionError(f"Run {now.run_id} does not wait for a form: {_state(now)}")
        requests = self.client.input_requests
        async for request in requests.iter(now.conversation_id, status="open"):
            if request.run_id == now.run_id:
                await requests.respond(now.conversation_id, request.id, values)
        await self.settle()

    async def signal(self, run: Run | str, name: str, payload: Any = None) -> Signalled:
        """Send a signal to a run, which takes it with `ctx.wait_for_event(name)`: now, or when it waits for it."""
        sent = await self.client.runs.signal(_id(run), name, payload)
        await self.settle()
        return sent

    async def retry(self, /, run: Run | str, from_step: str | None = None, **options: Any) -> Run:
        """Retry a run that has ended, and return the new run when it cannot continue.

        `from_step` is the id of a step, or "failed": see `client.runs.retry`, which also describes the options.
        """
        created = await self.client.runs.retry(_id(run), from_step=from_step, **options)
        await self.settle()
        return await self.get(created.run)

    async def publish(
        self,
        name: str,
        data: Any = None,
        *,
        id: str | None = None,  # noqa: A002 - the member's name on the wire
        occurred_at: datetime | None = None,
    ) -> Published:
        """Publish an event to the runs that wait for it with `ctx.wait_for_event(name, match=…)`."""
        published = await self.client.events.publish(name, data, id=id, occurred_at=occurred_at)
        await self.settle()
        return published

    async def cancel(self, run: Run | str) -> Run:
        """Cancel the run and its descendants."""
        await self.client.runs.cancel(_id(run))
        await self.settle()
        return await self.get(run)

    async def events(self, run: Run | str) -> list[Event]:
        """Return all events of the run's log."""
        return [event async for event in self.client.events.iter(_id(run))]

    async def advance(
        self, seconds: float | timedelta = 0, *, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """Move the clock forward by the sum: sleeps end, waits expire, schedules fire, delayed runs start, each at
        its time. Raise ValueError for a negative time.
        """
        by = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
        by += timedelta(minutes=minutes, hours=hours, days=days)
        if by < timedelta(0):
            raise ValueError(f"The clock moves forward only, not by {by}")
        await self._until(self.clock.ms + round(by / timedelta(milliseconds=1)))

    async def settle(self) -> None:
        """Run handlers until no run can continue."""
        await self._work()
        while (retry_at := min(self.server.due_times(retries=True), default=None)) is not None:
            await self._until(retry_at)

    async def _until(self, end: int) -> None:
        await self._work()
        while (at := min(self.server.due_times(retries=False), default=end)) < end:
            self.clock.move_to(at)
            await self._work()
        self.clock.move_to(end)
        await self._work()

    async def _work(self) -> None:
        try:
            async with asyncio.timeout(self._real_timeout_s):
                await self._move_clock_for(asyncio.ensure_future(self._run_until_idle()))
        except TimeoutError:
            raise AssertionError(
                f"Handlers were still running after {self._real_timeout_s:g} s of real time"
            ) from None

    async def _run_until_idle(self) -> None:
        assert self._worker is not None
        while await self.server.tick() + await self._worker.run_until_idle():
            pass

    async def _move_clock_for(self, working: "asyncio.Future[None]") -> None:
        """Wait for the work. While a handler sleeps, move the clock to the end of its sleep."""
        try:
            while not working.done():
                sleeping = asyncio.ensure_future(self.clock.handler_sleeps.wait())
                either: list[asyncio.Future[Any]] = [working, sleeping]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                sleeping.cancel()
                await self._let_others_run()
                at = self.clock.handler_wakes_at()
                if at is not None:
                    self.clock.move_to(at)
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _let_others_run(self) -> None:
        """Let all other tasks run until none of them waits for the store."""
        turns = 0
        while turns < _TURNS:
            if self.server.busy:
                turns = 0
                await asyncio.sleep(_STORE_PAUSE_S)
            else:
                turns += 1
                await asyncio.sleep(0)


_NOT_AWAITED: Final = frozenset({"TOOL_RESULT_NOT_WAITING", "TOOL_RESULT_CONFLICT", "RUN_NOT_ACTIVE"})


def _id(run: Run | str) -> str:
    return run if isinstance(run, str) else run.run_id


def _awaited(run: Run) -> str:
    """Return what the run waits for: `approval`, `event:<name>`, `sleep`, `run:<id>` … The call id ends with a step id."""
    return (run.waiting_tool_call_id or "").rpartition(":")[0] or run.waiting_reason or "nothing"


def _state(run: Run) -> str:
    if run.blocked is not None:
        return f"it is blocked: {run.blocked}"
    if run.status == "waiting":
        return f"it waits for {_awaited(run)}"
    served = " (does the app serve its target?)" if run.status == "pending" else ""
    return f"it is {run.status}{served}"
