"""`runstead race`."""

import sys
from typing import Annotated

from cyclopts import Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.output import fail, write_out

HERE = "http://127.0.0.1:8720"


def race(
    *,
    url: Annotated[
        list[str] | None,
        Parameter(
            help="Server URL, may repeat for replicas; else http://127.0.0.1:8720",
            negative="",
        ),
    ] = None,
    key: Annotated[str, Parameter(env_var="RUNSTEAD_KEY", help="API key; else RUNSTEAD_KEY")],
    project: str = "default",
    runs: int = 50,
    callers: Annotated[int, Parameter(help="Concurrent calls for each run")] = 32,
    json: AsJson = False,
) -> None:
    """Check that a deployment completes each run exactly once. Exit 1 with a report if it does not."""
    from runstead.bench import BenchError, RaceOptions, render_race, run_race  # noqa: PLC0415

    options = RaceOptions(urls=tuple(url or [HERE]), key=key, project=project, runs=runs, callers=callers)
    try:
        report = run_race(options)
    except BenchError as error:
        fail(str(error))
    write_out(render_race(report, json=json), end="")
    if not report.exactly_once:
        sys.exit(1)
