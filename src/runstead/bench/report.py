"""The report of `runstead bench`, as JSON or as tables."""

import platform

import msgspec
from rich.table import Table

from runstead.bench.load import usable_cores
from runstead.bench.rendering import rendered
from runstead.bench.tally import REQUESTS, Latency, Tally, summarise


class RequestFigures(msgspec.Struct, frozen=True):
    create: Latency
    claim: Latency
    append: Latency
    complete: Latency


class ErrorKind(msgspec.Struct, frozen=True):
    """Errors of one kind: the answer's status, or `dropped`, `no run`, `wrong count`, `lost`, `unexpected answer`."""

    request: str
    kind: str
    count: int
    sample: str


class Errors(msgspec.Struct, frozen=True):
    """The errors of the whole measurement, including warm-up and baselines."""

    count: int
    kinds: list[ErrorKind]


class Floors(msgspec.Struct, frozen=True):
    """The baselines of the same machine: HTTP requests alone, and commits of the engine alone (or null)."""

    healthz_requests_per_s: float
    engine_updates_per_s: float | None


class Machine(msgspec.Struct, frozen=True):
    """The machine of the load generator. The server may run on another one."""

    cores: int
    python: str
    platform: str

    @classmethod
    def here(cls) -> "Machine":
        return cls(cores=usable_cores(), python=platform.python_version(), platform=platform.platform())


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a measurement.

    `seconds` is the counted window, without the warm-up. `generator_cores` is the CPU use of the load generator. `url`
    lists all replicas.
    """

    url: str
    started_at: str
    concurrency: int
    processes: int
    seconds: float
    lifecycles: int
    lifecycles_per_s: float
    requests_per_s: float
    requests: RequestFigures
    errors: Errors
    floors: Floors
    generator_cores: float
    machine: Machine


def request_figures(tally: Tally) -> RequestFigures:
    return RequestFigures(**{name: summarise(tally.latencies_ns[name]) for name in REQUESTS})


def error_figures(*tallies: Tally) -> Errors:
    """Return the errors of all tallies, the most frequent kind first."""
    kinds = [
        ErrorKind(request=request, kind=kind, count=count, sample=sample)
        for tally in tallies
        for (request, kind), (count, sample) in tally.errors.items()
    ]
    kinds.sort(key=lambda each: -each.count)
    return Errors(count=sum(each.count for each in kinds), kinds=kinds)


def render_bench(report: BenchReport, *, json: bool = False) -> str:
    """Return the text to print, with a final newline."""
    errors = [_errors(report.errors)] if report.errors.count else []
    sentence = (
        f"{report.concurrency} callers in {report.processes} process(es) for {report.seconds:g} s from "
        f"{report.started_at}; the generator took {report.generator_cores:.2f} of {report.machine.cores} cores "
        f"(Python {report.machine.python}, {report.machine.platform})"
    )
    return rendered(report, [_summary(report), _latencies(report), *errors, sentence], json=json)


def _summary(report: BenchReport) -> Table:
    table = Table("", "per second", title=f"Runstead bench of {report.url}", title_justify="left")
    table.columns[1].justify = "right"
    updates = report.floors.engine_updates_per_s
    for name, rate in (
        ("lifecycles", report.lifecycles_per_s),
        ("requests", report.requests_per_s),
        ("floor: GET /healthz", report.floors.healthz_requests_per_s),
        ("floor: engine, single-row updates", updates),
    ):
        table.add_row(name, "not measured" if rate is None else f"{rate:,.0f}")
    return table


def _latencies(report: BenchReport) -> Table:
    table = Table("request", "count", "p50 ms", "p99 ms", "max ms")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in REQUESTS:
        latency: Latency = getattr(report.requests, name)
        figures = (latency.p50_ms, latency.p99_ms, latency.max_ms)
        cells = ("-" if figure is None else f"{figure:.2f}" for figure in figures)
        table.add_row(name, f"{latency.count:,}", *cells)
    return table


def _errors(errors: Errors) -> Table:
    table = Table(
        "request", "error", "count", "first sample", title=f"{errors.count} errors", title_justify="left"
    )
    for each in errors.kinds:
        table.add_row(each.request, each.kind, str(each.count), each.sample)
    return table
