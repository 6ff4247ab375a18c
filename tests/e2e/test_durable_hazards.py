"""Hazards of a durable run with a real server and workers. In each, every step runs once and the output is right."""

import asyncio
import io
import socket
from collections import Counter
from contextlib import asynccontextmanager

import httpx2
import pytest

from runstead.core import limits
from runstead.sdk import App, AsyncClient, Context, Retries
from runstead.server.main import Main
from runstead.server.settings import Settings

KEY = "vf_hazards_" + "0123456789abcdef" * 3


class Cut(httpx2.AsyncBaseTransport):
    """A network that loses requests and answers: of each six, the third is not sent, and the fifth gets no answer."""

    def __init__(self):
        self.inner, self.count, self.lost = httpx2.AsyncHTTPTransport(), 0, 0

    async def handle_async_request(self, request):
        self.count += 1
        if self.count % 6 == 3:
            self.lost += 1
            raise httpx2.ConnectError("cut", request=request)
        response = await self.inner.handle_async_request(request)
        if self.count % 6 == 5:
            await response.aread()
            await response.aclose()
            self.lost += 1
            raise httpx2.ReadError("cut", request=request)
        return response

    async def aclose(self):
        await self.inner.aclose()


class Deployment:
    """A server on SQLite that can be restarted at the same address, and workers."""

    def __init__(self, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.database = f"sqlite:///{directory / 'runstead.db'}"
        self.main = None
        self.retries = Retries(times=20, first_delay_s=0.05, max_delay_s=0.2)

    async def start(self):
        settings = Settings(database_url=self.database, port=self.port, bootstrap_key=KEY)
        self.main = Main(settings, io.StringIO())
        self.running = asyncio.ensure_future(self.main.run())
        await self.main.ready.wait()

    async def stop(self):
        self.main.stop()
        await self.running

    def client(self, **options):
        return AsyncClient(
            f"http://127.0.0.1:{self.port}", KEY, project="default", retries=self.retries, **options
        )

    @asynccontextmanager
    async def worker(self, app, **options):
        async with self.client(**options) as client:
            worker = app.worker(
                client,
                worker_key=f"worker-{id(client)}",
                lease_seconds=5,
                grace_seconds=0,
                retries=self.retries,
            )
            serving = asyncio.ensure_future(worker.serve())
            try:
                yield worker
            finally:
                worker.stop()
                worker.stop()
                await serving


@pytest.fixture
async def deployment(tmp_path):
    made = Deployment(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def ended(client, run_id):
    async with asyncio.timeout(30):
        while not (run := await client.runs.get(run_id)).terminal:  # noqa: ASYNC110 - the state is in the store
            await asyncio.sleep(0.05)
    return run


def walk(steps, pause_s=0.01):
    """Return an app, the counts of its steps' effects, an event for each running step, and the right output."""
    app, done, at_work = App(), Counter(), [asyncio.Event() for _ in range(steps)]

    @app.task("index")
    async def index(ctx: Context, rows: int) -> int:
        return await ctx.step("index", lambda: done.update(["index"]) or rows)

    @app.task("walk")
    async def walk(ctx: Context) -> list[int]:
        async def work(number: int) -> int:
            at_work[number].set()
            await asyncio.sleep(pause_s)
            done[number] += 1
            return number

        half = steps // 2
        first = [await ctx.step(f"step {n}", work, n) for n in range(half)]
        child = await ctx.spawn("task:index", config={"rows": half})
        await ctx.sleep(1.1)
        rows = await child.result()
        rest = await ctx.gather(*[ctx.step(f"step {n}", work, n) for n in range(half, steps)])
        return [*first, rows, *rest]

    right = [*range(steps // 2), steps // 2, *range(steps // 2, steps)]
    return app, done, at_work, right


async def test_the_connection_is_cut_repeatedly(deployment):
    app, done, _, right = walk(8)
    cut = Cut()
    async with deployment.client() as client, deployment.worker(app, transport=cut):
        run = (await client.runs.create("task:walk")).run
        run = await ended(client, run.run_id)
        assert (run.status, run.output) == ("completed", right), run.error
        assert [child.target for child in (await client.runs.children(run.run_id)).data] == ["task:index"]
    assert cut.lost > 5
    assert set(done.values()) == {1}


async def test_the_server_is_restarted_during_a_step_and_during_a_wait(deployment):
    app, done, at_work, right = walk(6, pause_s=0.1)
    async with deployment.client() as client, deployment.worker(app):
        run = (await client.runs.create("task:walk")).run
        await at_work[1].wait()
        await deployment.stop()
        await deployment.start()
        while (await client.runs.get(run.run_id)).status != "waiting":  # noqa: ASYNC110 - the state is in the store
            await asyncio.sleep(0.02)
        await deployment.stop()
        await deployment.start()
        run = await ended(client, run.run_id)
    assert (run.status, run.output) == ("completed", right), run.error
    assert set(done.values()) == {1}


async def test_two_workers_race_for_many_runs(deployment):
    app, calls = App(), Counter()

    @app.task("race", retries=1)
    async def race(ctx: Context, n: int) -> int:
        async def work() -> int:
            calls[n] += 1
            await asyncio.sleep(0)
            return n

        await ctx.step("first", work)
        return await ctx.step("second", work)

    async with (
        deployment.client() as client,
        deployment.worker(app),
        deployment.worker(app),
        deployment.worker(app),
    ):
        runs = [(await client.runs.create("task:race", config={"n": n})).run for n in range(12)]
        assert [(await ended(client, run.run_id)).output for run in runs] == list(range(12))
    assert calls == dict.fromkeys(range(12), 2)


async def test_a_worker_that_lost_its_lease_stops_and_its_late_writes_are_refused(deployment):
    """Its handler ignores the cancellation. It can neither finish a step nor end the run."""
    app, calls, late = App(), [], asyncio.Event()

    @app.task("stubborn")
    async def stubborn(ctx: Context) -> str:
        async def kept() -> str:
            calls.append(("kept", ctx.run.attempt))
            return "kept"

        async def slow() -> str:
            calls.append(("slow", ctx.run.attempt))
            if ctx.run.attempt == 1:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    late.set()
            return f"of attempt {ctx.run.attempt}"

        await ctx.step("kept", kept)
        return await ctx.step("slow", slow)

    async with deployment.client() as client, deployment.worker(app):
        run = (await client.runs.create("task:stubborn")).run
        while ("slow", 1) not in calls:  # noqa: ASYNC110 - a list has no event
            await asyncio.sleep(0.01)
        held = await client.runs.get(run.run_id)
        await client.workers.release(held.lease_owner, run.run_id, retry_after_seconds=0, attempt=1)
        run = await ended(client, run.run_id)
        await asyncio.wait_for(late.wait(), 30)
        assert (run.status, run.output) == ("completed", "of attempt 2")
        assert await client.runs.get(run.run_id) == run
        log = [event async for event in client.events.iter(run.run_id, event_types=["STEP_FINISHED"])]
    assert calls == [("kept", 1), ("slow", 1), ("slow", 2)]
    assert [event.payload["result"] for event in log] == ["kept", "of attempt 2"]


async def test_a_parent_continues_when_its_child_has_ended_and_not_at_the_next_tick_of_the_deadlines(
    deployment, monkeypatch
):
    await deployment.stop()
    monkeypatch.setattr(limits, "deadlines_tick_s", 3_600.0)
    await deployment.start()
    app = App()

    @app.task("child")
    async def child(ctx: Context) -> int:
        await asyncio.sleep(0.02)
        return 1

    @app.task("parent")
    async def parent(ctx: Context) -> int:
        return sum([await (await ctx.spawn("task:child")).result() for _ in range(10)])

    async with deployment.client() as client, deployment.worker(app):
        run = (await client.runs.create("task:parent")).run
        run = await ended(client, run.run_id)
        attempts = (await client.runs.attempts(run.run_id)).data
    assert (run.output, run.error) == (10, None)
    assert Counter(one.outcome for one in attempts)["parked"] >= 5
