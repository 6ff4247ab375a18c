"""Without a tracer provider nothing is traced, and OpenTelemetry is not even imported."""

import subprocess
import sys

from runstead.sdk import App
from runstead.testing import Testbed

_PROGRAM = """
import asyncio, sys
import runstead.server.main  # as `runstead serve`
from runstead.server.tracing import configure, enable
from runstead.sdk import App, Context
from runstead.testing import Testbed

app = App()

@app.task("t")
async def t(ctx: Context) -> str:
    await ctx.sleep(60)
    ctx.usage("openai", "gpt-5", input_tokens=1)
    await ctx.text("Hello")
    return await ctx.step("upper", str.upper, "done")

async def main():
    configure("runstead")()
    enable()
    async with Testbed(app) as bed:
        run = await bed.run("task:t")
        await bed.advance(60)
        assert (await bed.result(run)).output == "DONE"

asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_a_run_imports_nothing_of_opentelemetry():
    done = subprocess.run(
        [sys.executable, "-P", "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n"


async def test_the_log_of_a_run_has_no_trace():
    app = App()

    @app.task("t")
    async def t(ctx):
        await ctx.step("upper", str.upper, "done")

    async with Testbed(app) as bed:
        events = await bed.events(await bed.run("task:t"))
    assert not [event for event in events if "traceparent" in event.payload]
