from pathlib import Path

import pytest

from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.sdk import App, RunFailed
from runstead.sdk.isolation.loading import load
from runstead.sdk.models.value import is_encoded, reference_of

from .in_process_server import InProcessServer

isolated = load(f"{Path(__file__).parent / 'isolated_app.py'}:encoded")


@pytest.fixture
async def served(tmp_path):
    kept = FilesystemArtifacts(tmp_path / "kept")
    await kept.open()
    one = await InProcessServer().open(artifacts=kept)
    yield one
    await one.close()


async def ran(served, app):
    served.start_worker(app)
    run = (await served.client.runs.create("task:t")).run
    return await served.ended(run.run_id)


async def test_bytes_and_files_are_stored_and_names_alone_recorded(served, tmp_path):
    app = App()

    @app.task("t")
    async def make(ctx):
        file = tmp_path / "plot.png"
        file.write_bytes(b"png")
        ctx.artifact("elsewhere", uri="s3://b/c", size=3)
        await ctx.artifact(file)
        await ctx.artifact(str(file), name="same.bin", media_type="x/y")
        stored = await ctx.artifact(b"a,b", name="report.csv")
        return stored.uri

    run = await ran(served, app)
    assert run.output == f"/runs/{run.run_id}/artifacts/report.csv", run.error
    assert [(one["name"], one.get("media_type"), one["size"]) for one in run.artifacts] == [
        ("plot.png", "image/png", 3),
        ("same.bin", "x/y", 3),
        ("report.csv", "text/csv", 3),
        ("elsewhere", None, 3),
    ]
    assert await served.client.artifacts.read(run.run_id, "plot.png") == b"png"


async def test_a_handler_in_a_thread_stores_too(served):
    app = App()

    @app.task("t")
    def make(ctx):
        ctx.artifact("noted", uri="x")
        return ctx.artifact(memoryview(b"abc"), name="a").size

    run = await ran(served, app)
    assert (run.output, len(run.artifacts)) == (3, 2)


async def test_a_failed_run_keeps_what_it_stored(served):
    app = App()

    @app.task("t")
    async def make(ctx):
        await ctx.artifact(b"core", name="dump")
        ctx.artifact("noted", uri="x")
        raise RunFailed("no", "NO")

    run = await ran(served, app)
    assert (run.status, [one["name"] for one in run.artifacts]) == ("failed", ["dump", "noted"])


async def test_an_attempt_after_a_wait_does_not_upload_a_stored_artifact_again(served, monkeypatch):
    app, sent = App(), []
    put = served.commands.artifacts.put

    async def counted(run, chunks, bytes_max):
        sent.append(run)
        return await put(run, chunks, bytes_max)

    monkeypatch.setattr(served.commands.artifacts, "put", counted)

    @app.task("t")
    async def make(ctx):
        stored = await ctx.artifact(b"same", name="a")
        await ctx.wait_for_event("e")
        return stored.sha256[:8]

    served.start_worker(app)
    run = (await served.client.runs.create("task:t")).run
    await served.answer(await served.until(run.run_id, "waiting"))
    run = await served.ended(run.run_id)
    assert (run.status, run.output, len(sent)) == ("completed", "0967115f", 1)


async def test_an_artifact_that_cannot_be_stored_fails_the_run_with_its_code(served):
    app = App()
    served.commands.artifact_bytes_max = 2

    @app.task("t")
    async def make(ctx):
        with pytest.raises(TypeError):
            ctx.artifact(b"x")
        with pytest.raises(TypeError):
            ctx.artifact(b"x", name="a", uri="u")
        for name in ("", "a/b", "a\n", "x" * 256):
            with pytest.raises(ValueError, match="An artifact's name"):
                ctx.artifact(b"x", name=name)
        with pytest.raises(FileNotFoundError):
            await ctx.artifact(Path("nowhere"))
        await ctx.artifact(b"abc", name="a")

    run = await ran(served, app)
    assert (run.status, run.error.code) == ("failed", "ARTIFACT_TOO_LARGE")


async def test_a_handler_in_its_own_process_encodes_and_stores_large_values(served):
    served.client.codec = isolated.codec
    served.start_worker(isolated)
    run = (await served.client.runs.create("task:values", input={"size": 800_000})).run
    run = await served.ended(run.run_id)
    assert run.status == "completed", run.error
    output = await served.client.run(run.run_id).result()
    assert (len(output), output[:800_000] * 3) == (2_400_000, output)
    assert reference_of(run.output).size < 2_000_000
    assert is_encoded(run.input)
    events = (await served.client.events.list(run.run_id, event_types=["STEP_FINISHED"])).data
    assert [event.payload["stepName"] for event in events] == ["noise", "sleep"]
    assert reference_of(events[0].payload["result"]) is not None
