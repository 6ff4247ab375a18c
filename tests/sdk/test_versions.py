"""Two versions of an app side by side: pinned runs stay with theirs, the others move on."""

import asyncio
from collections import defaultdict

import pytest

from runstead.core.limits import worker_version_chars_max
from runstead.sdk import App
from runstead.testing import Testbed

from .in_process_server import InProcessServer


def make(version, seen, **options):
    """An app that records which version served each part of a run."""
    app = App("orders", version=version, **options)

    async def work(ctx):
        seen[ctx.run.run_id].append(version)
        await ctx.wait_for_event("on")
        seen[ctx.run.run_id].append(version)
        await ctx.step("last", lambda: None)

    app.task("pinned", pinned=True)(work)
    app.task("free")(work)
    return app


async def test_two_versions_side_by_side_keep_pinned_runs_and_share_the_others():
    seen = defaultdict(list)
    server = await InProcessServer().open()
    try:
        old, new = make("v1", seen), make("v2", seen)
        server.start_worker(old, worker_key="old", concurrency=4)
        pinned = [(await server.client.start("task:pinned")).id for _ in range(6)]
        free = (await server.client.start("task:free")).id
        for run_id in (*pinned, free):
            await server.until(run_id, "waiting")
        server.start_worker(new, worker_key="new", concurrency=4)
        later = (await server.client.runs.create("task:free", pinned=True)).run.run_id
        await server.until(later, "waiting")
        await asyncio.gather(*(server.client.signal(run_id, "on") for run_id in (*pinned, free, later)))
        for run_id in (*pinned, free, later):
            await server.ended(run_id)
        for run_id in (*pinned, later):
            run = await server.client.runs.get(run_id)
            assert run.pinned
            assert set(seen[run_id]) == {run.worker_version}
        assert {(await server.client.runs.get(run_id)).worker_version for run_id in pinned} == {"v1"}
        versions = {one.version: one for one in await server.client.workers.versions()}
        assert [(one, versions[one].workers_online, versions[one].drained) for one in ("v1", "v2")] == [
            ("v1", 1, True),
            ("v2", 1, True),
        ]
    finally:
        await server.close()


async def test_a_run_without_a_pin_goes_on_with_the_next_version_and_a_pinned_one_waits_for_its_own():
    seen = defaultdict(list)
    async with Testbed(make("v1", seen)) as bed:
        pinned, free = await bed.run("task:pinned"), await bed.run("task:free")
        await bed.deploy(make("v2", seen))
        for run in (pinned, free):
            await bed.signal(run, "on")
        assert (await bed.result(free)).worker_version == "v1"
        assert seen[free.run_id] == ["v1", "v2", "v2"]
        assert (await bed.client.runs.get(pinned.run_id)).status == "running"
        (needed,) = [one for one in await bed.client.workers.versions() if not one.drained]
        assert (needed.version, needed.workers_online, needed.runs_running) == ("v1", 0, 1)
        await bed.deploy(make("v1", seen))
        await bed.result(pinned)
        assert seen[pinned.run_id] == ["v1"] * 3


def test_a_pin_needs_a_version():
    with pytest.raises(ValueError, match="give the app one"):
        App(pinned=True)
    with pytest.raises(ValueError, match="give the app one"):
        App().task("t", pinned=True)
    with pytest.raises(ValueError, match="1 to 64"):
        App(version="x" * (worker_version_chars_max + 1))
    app = App(version="1", pinned=True)
    app.task("kept")(lambda: None)
    app.task("free", pinned=False)(lambda: None)
    assert app.pinned_targets == ["task:kept"]
