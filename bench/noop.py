"""The app that bench/worker.py serves: a task that does nothing."""

from runstead.sdk import App, Context

app = App()


@app.task("noop")
async def noop(ctx: Context) -> None:
    """Do nothing."""
