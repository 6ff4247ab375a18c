"""Flow control with the SDK and the testbed."""

from runstead.sdk import App, Context
from runstead.testing import Testbed

app = App()


@app.workflow("sync")
async def sync(ctx: Context, customer: str):
    return [customer, await ctx.wait_for_event("done")]


@app.task("report")
async def report(ctx: Context, of: str):
    return of


async def test_a_unique_key_starts_one_workflow():
    async with Testbed(app) as bed:
        run = await bed.run(sync, customer="ada", unique={"key": "ada"})
        created = await bed.client.runs.create("workflow:sync", input={}, unique={"key": "ada"})
        assert (created.run.run_id, created.duplicate) == (run.run_id, True)
        handle = await bed.client.start(sync, customer="eve", unique={"key": "ada", "while": 60})
        assert handle.id == run.run_id
        await bed.signal(run, "done", 7)
        assert (await bed.result(run)).output == ["ada", 7]


async def test_a_debounced_task_runs_once_with_the_last_input():
    async with Testbed(app) as bed:
        handles = [
            await bed.client.start(report, of=day, debounce={"key": "report", "seconds": 30})
            for day in ("monday", "tuesday", "friday")
        ]
        await bed.advance(31)
        assert len({handle.id for handle in handles}) == 1
        run = await bed.client.runs.get(handles[0].id)
        assert (run.output, run.debounced, run.debounce_key) == ("friday", 2, "report")
