"""The load generator and the exactly-once test. They use the HTTP API only and import nothing else of Runstead."""

from runstead.bench.bench import BenchOptions, MeasureUpdates, RateOptions, run_bench, run_rate
from runstead.bench.deployment import BenchError
from runstead.bench.race import RaceOptions, run_race
from runstead.bench.race_report import RaceReport, Violation, render_race
from runstead.bench.rate_report import RateReport, render_rate
from runstead.bench.report import BenchReport, render_bench

__all__ = [
    "BenchError",
    "BenchOptions",
    "BenchReport",
    "MeasureUpdates",
    "RaceOptions",
    "RaceReport",
    "RateOptions",
    "RateReport",
    "Violation",
    "render_bench",
    "render_race",
    "render_rate",
    "run_bench",
    "run_race",
    "run_rate",
]
