"""`runstead bench` and `runstead race`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import Parameter

from runstead.cli.shared.options import AsJson
from runstead.cli.shared.output import fail, write_out

HERE = "http://127.0.0.1:8720"

Urls = Annotated[
    list[str] | None,
    Parameter(help="Server URL, may repeat for replicas; else http://127.0.0.1:8720"),
]
Key = Annotated[str, Parameter(env_var="RUNSTEAD_KEY", help="API key; else RUNSTEAD_KEY")]


@contextmanager
def _errors() -> Iterator[None]:
    """End the program for a measurement that cannot be made."""
    from runstead.bench import BenchError  # noqa: PLC0415

    try:
        yield
    except (BenchError, RuntimeError) as error:
        fail(str(error))


def bench(
    *,
    url: Urls = None,
    key: Key,
    project: str = "default",
    concurrency: Annotated[int, Parameter(help="Concurrent callers")] = 16,
    seconds: Annotated[float, Parameter(help="Seconds to measure")] = 10.0,
    processes: Annotated[int | None, Parameter(help="Load processes; else 1 up to 32 callers")] = None,
    database: Annotated[
        str | None,
        Parameter(
            help="postgresql://… on which the database's commit rate is measured, in a temporary table; else a temporary"
            " SQLite file here"
        ),
    ] = None,
    rate: Annotated[
        float | None,
        Parameter(
            help="Start this many lifecycles per second, regardless of answers, in place of callers that wait"
        ),
    ] = None,
    recover: Annotated[
        float | None,
        Parameter(help="With --rate: the lifecycles per second for 5 s before and 10 s afterwards"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure a deployment: whole lifecycles (create, claim, append 10 events, complete), and two baselines."""
    if rate is None and recover is not None:
        fail("--recover needs --rate: the load from which the server recovers")
    if rate is not None:
        _rate(url, key, project, rate, recover, seconds, processes, json=json)
        return
    from runstead.bench import BenchOptions, render_bench, run_bench  # noqa: PLC0415
    from runstead.server.engines import measure_updates  # noqa: PLC0415
    from runstead.server.settings import is_postgres  # noqa: PLC0415

    if database is not None and not is_postgres(database):
        fail("--database must be postgresql://…: SQLite's commit rate is measured in a temporary file")

    options = BenchOptions(
        urls=tuple(url or [HERE]),
        key=key,
        project=project,
        concurrency=concurrency,
        seconds=seconds,
        processes=processes,
        floor_database=database,
    )
    with _errors():
        write_out(render_bench(run_bench(options, measure_updates), json=json), end="")


def _rate(
    url: list[str] | None,
    key: str,
    project: str,
    rate: float,
    recover: float | None,
    seconds: float,
    processes: int | None,
    *,
    json: bool,
) -> None:
    from runstead.bench import RateOptions, render_rate, run_rate  # noqa: PLC0415

    options = RateOptions(
        urls=tuple(url or [HERE]),
        key=key,
        project=project,
        rate=rate,
        recover_rate=recover,
        seconds=seconds,
        processes=processes or 1,
    )
    with _errors():
        write_out(render_rate(run_rate(options), json=json), end="")


def race(
    *,
    url: Urls = None,
    key: Key,
    project: str = "default",
    runs: int = 50,
    callers: Annotated[int, Parameter(help="Concurrent calls for each run")] = 32,
    json: AsJson = False,
) -> None:
    """Check that a deployment completes each run exactly once. Exit 1 with a report if it does not."""
    from runstead.bench import RaceOptions, render_race, run_race  # noqa: PLC0415

    options = RaceOptions(urls=tuple(url or [HERE]), key=key, project=project, runs=runs, callers=callers)
    with _errors():
        report = run_race(options)
    write_out(render_race(report, json=json), end="")
    if not report.exactly_once:
        sys.exit(1)
