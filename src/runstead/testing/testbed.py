"""A server and a worker for tests of what an app does."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Self

from runstead.sdk import App, AsyncClient, ClaimedRun, Context, Event, Run, Worker
from runstead.testing.clock import Clock
from runstead.testing.server import Server

#: When a testbed's time begins, unless told otherwise.
START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)

#: So many turns of the event loop without work for the store pass before the clock jumps to the end of a handler's sleep.
_ROUNDS: Final = 100
_STORE_PAUSE_S: Final = 0.001


class Testbed:
    """The real server and the real worker in one process, on SQLite in a temporary directory: no port, and a clock that
    stands still until the test moves it.

        async with Testbed(app) as bed:
            run = await bed.run("task:sync-data", config={"url": "x"})
            assert run.status == "waiting"
            await bed.approve(run)
            assert (await bed.result(run)).output == {"rows": 3}

    Everything here returns once no run can go on by itself: each has ended, waits, or is not served. Pauses between two
    tries, and sleeps up to a second, are skipped: the clock jumps. All other waits last until `advance`. `client` does
    what the methods do not; `settle()` after it. `start` is when time begins; `patience_seconds` bounds, in real time,
    how long handlers may take.
    """

    __test__ = False  # for pytest, which takes the name for a test's

    def __init__(
        self, app: App, *, start: datetime = START, concurrency: int = 16, patience_seconds: float = 30.0
    ) -> None:
        self.clock = Clock(start)
        self._app = app
        self._server = Server(self.clock)
        self._concurrency = concurrency
        self._patience_s = patience_seconds
        self._client: AsyncClient | None = None
        self._worker: Worker | None = None

    async def __aenter__(self) -> Self:
        self._client = await self._server.open()
        self._worker = Worker(
            self._client,
            self._in_time,
            targets=self._app.targets,
            worker_key="testbed",
            lease_seconds=300,
            concurrency=self._concurrency,
            clock=self.clock.seconds,
            sleep=self.clock.sleep,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self._server.close()

    async def _in_time(self, run: ClaimedRun, ctx: Context) -> Any:
        ctx.use_clock(self.clock.now, self.clock.nap)
        return await self._app(run, ctx)

    @property
    def client(self) -> AsyncClient:
        """A client of the server, with a key for all of its one project."""
        assert self._client is not None, "Enter the testbed first: async with Testbed(app) as bed"
        return self._client

    @property
    def now(self) -> datetime:
        return self.clock.now()

    async def run(
        self,
        target: str,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,  # noqa: A002 - the member's name on the wire
        **options: Any,
    ) -> Run:
        """Create a run of `task:…`, `workflow:…`, `eval:…` or `agent:…`, and work on it; the run as it is then.

        `options` as the client's `create_task_run` and the others take them. An agent's run gets a conversation of its
        own, and has its `input` ({messages, context, …}) as `request_snapshot`.
        """
        kind, _, name = target.partition(":")
        if kind == "agent":
            conversation = await self.client.create_conversation()
            payload = {"messages": []} if input is None else input
            created = await self.client.create_agent_run(
                conversation.id, name, input=payload, implementation_kind="python", **options
            )
        elif kind == "workflow":
            created = await self.client.create_workflow_run(name, config=config, input=input, **options)
        elif kind == "eval":
            created = await self.client.create_eval_run(target, config=config, input=input, **options)
        else:
            created = await self.client.create_task_run(target, config=config, input=input, **options)
        await self.settle()
        return await self.get(created.run)

    async def get(self, run: Run | str) -> Run:
        """The run as it is now."""
        return await self.client.get_run(_id(run))

    async def result(self, run: Run | str) -> Run:
        """The run, which must have ended. AssertionError with what it is at, where it has not."""
        now = await self.get(run)
        if not now.terminal:
            raise AssertionError(f"Run {now.run_id} has not ended: {_told(now)}")
        return now

    async def approve(self, run: Run | str, approved: Any = True) -> None:
        """Answer what a run asks (`ctx.wait_for_approval`). AssertionError where it asks nothing."""
        await self._answer(run, "approval", "approval", approved)

    async def send(self, run: Run | str, event: str, value: Any = None) -> None:
        """Bring an event (`ctx.wait_for_event`). AssertionError where the run does not wait for it."""
        await self._answer(run, "event", f"event:{event}", value)

    async def _answer(self, run: Run | str, kind: Any, awaited: str, value: Any) -> None:
        now = await self.get(run)
        if now.status != "waiting" or _awaited(now) != awaited:
            raise AssertionError(f"Run {now.run_id} does not wait for {awaited}: {_told(now)}")
        await self.client.resume(now.run_id, value, type=kind, tool_call_id=now.waiting_tool_call_id)
        await self.settle()

    async def cancel(self, run: Run | str) -> Run:
        """Cancel the run and all below it."""
        await self.client.cancel(_id(run))
        await self.settle()
        return await self.get(run)

    async def events(self, run: Run | str) -> list[Event]:
        """All that the run's log tells."""
        return [event async for event in self.client.events(_id(run))]

    async def advance(self, seconds: float) -> None:
        """Let time go by: sleeps end, waits expire, schedules fire, runs that were delayed begin, each at its moment."""
        await self._until(self.clock.ms + round(seconds * 1000))

    async def settle(self) -> None:
        """Work until no run can go on by itself."""
        await self._work()
        while (again := min(self._server.times(retries=True), default=None)) is not None:
            await self._until(again)

    async def _until(self, end: int) -> None:
        await self._work()
        while (at := min(self._server.times(retries=False), default=end)) < end:
            self.clock.move_to(at)
            await self._work()
        self.clock.move_to(end)
        await self._work()

    async def _work(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._finished(asyncio.ensure_future(self._round()))
        except TimeoutError:
            raise AssertionError(
                f"Handlers were still at work after {self._patience_s:g} s of real time"
            ) from None

    async def _round(self) -> None:
        assert self._worker is not None
        while await self._server.tick() + await self._worker.run_until_idle():
            pass

    async def _finished(self, working: "asyncio.Future[None]") -> None:
        """Wait for it; where a handler sleeps, move the clock to the end of that."""
        try:
            while not working.done():
                napping = asyncio.ensure_future(self.clock.napped.wait())
                either: list[asyncio.Future[Any]] = [working, napping]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                napping.cancel()
                await self._settled()
                at = self.clock.nap_ends()
                if at is not None:
                    self.clock.move_to(at)
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _settled(self) -> None:
        """Let all other tasks run until none of them waits for the store."""
        rounds = 0
        while rounds < _ROUNDS:
            if self._server.busy:
                rounds = 0
                await asyncio.sleep(_STORE_PAUSE_S)
            else:
                rounds += 1
                await asyncio.sleep(0)


def _id(run: Run | str) -> str:
    return run if isinstance(run, str) else run.run_id


def _awaited(run: Run) -> str:
    """`approval`, `event:<name>`, `sleep`, `run:<id>` …: a context puts the step's number behind it."""
    return (run.waiting_tool_call_id or "").rpartition(":")[0] or run.waiting_reason or "nothing"


def _told(run: Run) -> str:
    if run.status == "waiting":
        return f"it waits for {_awaited(run)}"
    served = " (does the app serve its target?)" if run.status == "pending" else ""
    return f"it is {run.status}{served}"
