"""`runstead race`."""

import sys
from typing import Annotated

from cyclopts import Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.output import refuse, say

HERE = "http://127.0.0.1:8720"


def race(
    *,
    url: Annotated[
        list[str] | None,
        Parameter(
            help="May repeat: replicas, over which callers are spread. Else http://127.0.0.1:8720",
            negative="",
        ),
    ] = None,
    key: Annotated[str, Parameter(env_var="RUNSTEAD_KEY", help="API key; else RUNSTEAD_KEY")],
    project: str = "default",
    runs: int = 50,
    callers: Annotated[int, Parameter(help="Concurrent calls for each run")] = 32,
    json: AsJson = False,
) -> None:
    """Prove that a deployment completes each run exactly once; exit 1 and a report where it does not."""
    from runstead.bench import BenchError, RaceOptions, render_race, run_race  # noqa: PLC0415

    options = RaceOptions(urls=tuple(url or [HERE]), key=key, project=project, runs=runs, callers=callers)
    try:
        report = run_race(options)
    except BenchError as trouble:
        refuse(str(trouble))
    say(render_race(report, json=json), end="")
    if not report.exactly_once:
        sys.exit(1)
