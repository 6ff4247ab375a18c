"""A worker of the SDK in a project that requires a proof of the attempt with every write."""

from runstead.sdk import App

from .in_process_server import InProcessServer


async def test_the_worker_of_the_sdk_proves_its_attempt_with_every_write():
    app, served = App(), await InProcessServer().open()

    @app.task("fenced")
    async def work(ctx):
        await ctx.progress(0.5)
        await ctx.wait_for_event("next")
        return await ctx.step("one", lambda: 1)

    assert (await served.client.projects.update(require_attempt=True)).require_attempt
    served.start_worker(app)
    run = (await served.client.runs.create("task:fenced")).run
    await served.answer(await served.until(run.run_id, "waiting"))
    assert (await served.ended(run.run_id)).output == 1
    await served.close()
