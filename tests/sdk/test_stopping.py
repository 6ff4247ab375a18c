"""A cancel or a lost lease stops the handler at once: in the loop, in a thread or in a process."""

import asyncio
import json
import threading
from pathlib import Path

import pytest

from runstead.sdk import App, Step
from runstead.sdk.isolation.loading import load


def alive(pid):
    return Path(f"/proc/{pid}").exists()


def cancel(server):
    server.runs["a"]["status"] = "cancelled"


def supersede(server):
    server.runs["a"]["attempt"] = 2


@pytest.mark.parametrize("end", [cancel, supersede])
@pytest.mark.parametrize("place", ["handler", "step", "gather"])
async def test_a_coroutine_is_cancelled_wherever_it_awaits(end, place, harness):
    app, seen = App(), []

    async def work(name):
        try:
            seen.append(name)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(f"{name} cancelled")
            raise

    @app.task("t")
    async def task(ctx):
        if place == "handler":
            await work("one")
        elif place == "step":
            await ctx.step("s", work, "one", options=Step(retries=5))
        else:
            await ctx.gather(ctx.step("s", work, "one"), ctx.step("s", work, "two"))

    b = harness(app)
    b.server.add("a")
    await b.time.advance(0.1)
    await b.until(lambda: "one" in seen)
    end(b.server)
    await b.time.advance(11)
    assert sorted(seen) == sorted([*(["one", "two"] if place == "gather" else ["one"]), *_cancelled(place)])
    assert [body["status"] for _, body in b.server.completions] == ([] if end is supersede else ["cancelled"])
    await b.stop()


def _cancelled(place):
    return ["one cancelled", "two cancelled"] if place == "gather" else ["one cancelled"]


async def test_a_thread_sees_that_it_is_cancelled_and_keeps_its_slot_until_it_ends(harness):
    app, door, seen = App(), threading.Event(), []

    @app.task("t")
    def task(ctx):
        while not ctx.cancelled:
            door.wait(0.005)
        seen.append("cancelled")
        door.wait(10)
        seen.append("ended")

    b = harness(app, concurrency=1)
    b.server.add("a")
    await b.time.advance(0)
    cancel(b.server)
    b.server.add("b")
    await b.time.advance(11)
    await b.until(lambda: seen == ["cancelled"])
    await b.settle()
    assert b.server.queue == ["b"]
    door.set()
    await b.until(lambda: b.server.queue == [])
    await b.stop()


async def test_a_process_ends_with_its_runs_lease(harness, tmp_path):
    app = load(f"{Path(__file__).parent / 'isolated_app.py'}:app")
    b = harness(app)
    claim = b.server.claim = {"target": "task:awaits", "config": {"folder": str(tmp_path)}}
    b.server.add("a")
    await b.time.advance(0)
    await b.until((tmp_path / "pids").exists)
    (child,) = json.loads((tmp_path / "pids").read_text())
    assert claim
    supersede(b.server)
    await b.time.advance(11)
    await b.until((tmp_path / "cleaned").exists)
    await b.until(lambda: not alive(child))
    await b.stop()


async def test_a_process_ends_with_its_worker(harness, tmp_path):
    app = load(f"{Path(__file__).parent / 'isolated_app.py'}:app")
    b = harness(app, grace_seconds=5)
    b.server.claim = {"target": "task:awaits", "config": {"folder": str(tmp_path)}}
    b.server.add("a")
    await b.time.advance(0)
    await b.until((tmp_path / "pids").exists)
    (child,) = json.loads((tmp_path / "pids").read_text())
    b.worker.stop()
    await b.time.advance(4)
    assert alive(child)
    await b.time.advance(2)
    await b.until(b.serving.done)
    assert [run_id for run_id, _ in b.server.releases] == ["a"]
    assert (tmp_path / "cleaned").exists()
    assert not alive(child)
