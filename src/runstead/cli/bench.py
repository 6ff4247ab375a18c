"""`runstead bench`."""

from typing import Annotated

from cyclopts import Parameter

from runstead.cli.answers import refuse, say
from runstead.cli.app import AsJson, app


@app.command
def bench(
    *,
    url: str = "http://127.0.0.1:8720",
    key: Annotated[str, Parameter(env_var="RUNSTEAD_KEY", help="API key; else RUNSTEAD_KEY")],
    project: str = "default",
    concurrency: Annotated[int, Parameter(help="Callers at a time")] = 16,
    seconds: Annotated[float, Parameter(help="How long to measure")] = 10.0,
    processes: Annotated[int | None, Parameter(help="Load processes; else one up to 32 callers")] = None,
    json: AsJson = False,
) -> None:
    """Measure a deployment: whole lifecycles (create, claim, append 10 events, complete), and two floors."""
    from runstead.bench import BenchError, BenchOptions, render_bench, run_bench  # noqa: PLC0415
    from runstead.main import measure_updates  # noqa: PLC0415

    options = BenchOptions(
        url=url, key=key, project=project, concurrency=concurrency, seconds=seconds, processes=processes
    )
    try:
        report = run_bench(options, measure_updates)
    except BenchError as trouble:
        refuse(str(trouble))
    say(render_bench(report, json=json), end="")
