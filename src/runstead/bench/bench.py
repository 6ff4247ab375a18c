"""`runstead bench`: lifecycles per second, and two baselines that are measured in the same run."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from runstead.bench.connection import Connection, Target
from runstead.bench.deployment import BenchError, find_project_id, register_worker, targets_of
from runstead.bench.event_loop import run
from runstead.bench.lifecycle import Plan
from runstead.bench.load import Measured, Phase, default_processes, measure
from runstead.bench.rate import OpenLoop, Segment
from runstead.bench.rate_report import RateReport, rate_report
from runstead.bench.rendering import now
from runstead.bench.report import BenchReport, Floors, Machine, error_figures, request_figures
from runstead.bench.tally import HEALTHZ, REQUESTS

# (database URL, concurrency, seconds) → committed single-row updates per second. Call it without a running event loop.
MeasureUpdates = Callable[[str, int, float], float]

HEALTHZ_WARM_UP_S = 0.2

# Until an open loop starts, so that all processes start at the same time.
RATE_START_S = 0.2


class BenchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `run_bench`.

    `urls` are replicas of one deployment; callers are spread over them. `processes` None: derived from the concurrency.

    `floor_database` is the URL of the database in which the engine's baseline is measured, in a temporary table of its
    own. Without it a temporary SQLite file in `floor_directory` is used. That directory should be on the file system of
    the server's database, because the baseline mostly measures its fsync.
    """

    urls: tuple[str, ...]
    key: str
    project: str
    concurrency: int = 16
    seconds: float = 10.0
    processes: int | None = None
    warm_up_seconds: float = 1.0
    floor_seconds: float = 2.0
    floor_database: str | None = None
    floor_directory: Path = Path()


def run_bench(options: BenchOptions, measure_updates: MeasureUpdates | None = None) -> BenchReport:
    """Measure, for about seconds + warm_up_seconds + 2 * floor_seconds. Call it without a running event loop.

    Raise BenchError where the deployment cannot be reached, refuses the key or does not have the project.
    """
    processes = default_processes(options.concurrency) if options.processes is None else options.processes
    if options.concurrency < 1 or not 1 <= processes <= options.concurrency:
        raise BenchError("concurrency must be at least 1, and processes between 1 and concurrency")
    if options.seconds <= 0 or options.floor_seconds <= 0 or options.warm_up_seconds < 0:
        raise BenchError("seconds and floor_seconds must be above 0, and warm_up_seconds not below 0")
    targets = targets_of(options.urls)
    started_at = now()
    plans = run(_prepare(targets, options.project, options.key))
    phases = [
        Phase(health_checks=False, warm_up_s=options.warm_up_seconds, seconds=options.seconds),
        Phase(health_checks=True, warm_up_s=HEALTHZ_WARM_UP_S, seconds=options.floor_seconds),
    ]
    load, healthz = measure(plans, options.concurrency, processes, lambda: phases)
    # After the load: the two measurements would slow each other.
    updates_per_s = None if measure_updates is None else _engine_floor(options, measure_updates)
    return _report(options, processes, started_at, load, healthz, updates_per_s)


class RateOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of `run_rate`: lifecycles start at `rate` per second for `seconds`.

    With `recover_rate` they also start at that rate, before for `before_seconds` and afterwards for `recover_seconds`.
    """

    urls: tuple[str, ...]
    key: str
    project: str
    rate: float
    seconds: float = 10.0
    recover_rate: float | None = None
    before_seconds: float = 5.0
    recover_seconds: float = 10.0
    processes: int = 1


def run_rate(options: RateOptions) -> RateReport:
    """Measure an open loop. Call it without a running event loop. Raise BenchError as `run_bench`."""
    recover = options.recover_rate
    if options.rate <= 0 or options.seconds <= 0 or (recover is not None and recover <= 0):
        raise BenchError("rate, recover and seconds must be above 0")
    targets, started_at = targets_of(options.urls), now()
    plans = run(_prepare(targets, options.project, options.key))
    segments: tuple[Segment, ...] = (Segment("load", options.rate, options.seconds),)
    if recover is not None:
        before = Segment("before", recover, options.before_seconds)
        segments = (before, *segments, Segment("after", recover, options.recover_seconds))
    count, processes = len(targets) * options.processes, options.processes

    def start() -> Sequence[OpenLoop]:
        start_ns = time.perf_counter_ns() + int(RATE_START_S * 1e9)
        return [OpenLoop(start_ns, segments, processes)]

    (samples,) = measure(plans, count, processes, start)
    return rate_report(options.urls, started_at, processes, segments, samples)


async def _prepare(targets: list[Target], project: str, key: str) -> list[tuple[Target, Plan]]:
    connection = Connection(targets[0])
    headers = targets[0].headers(key)
    try:
        project_id = await find_project_id(connection, project, headers)
        worker = await register_worker(connection, project, headers, kind="bench")
    finally:
        connection.close()
    return [
        (
            target,
            Plan.build(key_headers=target.headers(key), worker=worker.at(target), project_id=project_id),
        )
        for target in targets
    ]


def _engine_floor(options: BenchOptions, measure_updates: MeasureUpdates) -> float:
    if options.floor_database is not None:
        return round(measure_updates(options.floor_database, options.concurrency, options.floor_seconds), 1)
    with tempfile.TemporaryDirectory(
        prefix="runstead-bench-", dir=options.floor_directory.resolve()
    ) as directory:
        url = f"sqlite:///{Path(directory) / 'floor.db'}"
        return round(measure_updates(url, options.concurrency, options.floor_seconds), 1)


def _report(
    options: BenchOptions,
    processes: int,
    started_at: str,
    load: Measured,
    healthz: Measured,
    updates_per_s: float | None,
) -> BenchReport:
    requests = sum(len(load.tally.latencies_ns[name]) for name in REQUESTS)
    health_checks = len(healthz.tally.latencies_ns[HEALTHZ])
    return BenchReport(
        url=", ".join(options.urls),
        started_at=started_at,
        concurrency=options.concurrency,
        processes=processes,
        seconds=options.seconds,
        lifecycles=load.tally.lifecycles,
        lifecycles_per_s=round(load.tally.lifecycles / options.seconds, 1),
        requests_per_s=round(requests / options.seconds, 1),
        requests=request_figures(load.tally),
        errors=error_figures(load.tally, healthz.tally),
        floors=Floors(
            healthz_requests_per_s=round(health_checks / options.floor_seconds, 1),
            engine_updates_per_s=updates_per_s,
        ),
        generator_cores=load.generator_cores,
        machine=Machine.here(),
    )
