"""What an open loop measured: figures of each segment, and when the latency was normal again."""

from collections.abc import Iterator

import msgspec
from rich.table import Table

from runstead.bench import rate as ends
from runstead.bench.rate import LIFECYCLE, MEASURED, Samples, Segment
from runstead.bench.rendering import rendered
from runstead.bench.report import Machine
from runstead.bench.tally import Latency, percentile, summarise

# The latency is normal again when no create is refused and its p99 in each such window is at most twice that before the
# overload, or this low.
WINDOW_S = 0.5
NORMAL_MS = 50.0

_REFUSED = {ends.REFUSED_503: 503, ends.REFUSED_429: 429, ends.NO_RETRY_AFTER: None}


class Refusals(msgspec.Struct, frozen=True):
    """Refused requests. `without_retry_after`: those whose answer had no Retry-After, of either status."""

    status_503: int
    status_429: int
    without_retry_after: int
    creates: int
    latency: Latency


class SegmentFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One segment. Creates count from the planned start; the other requests from the answer before.

    `accepted_per_s`: creates that were accepted. `completed_per_s`: lifecycles that ended within the segment.
    `lost`: requests without an answer or with another error; `timeouts`: without an answer within 10 s.
    """

    name: str
    rate: float
    seconds: float
    planned: int
    accepted_per_s: float
    completed_per_s: float
    accepted: Latency
    requests: dict[str, Latency]
    refused: Refusals
    timeouts: int
    lost: int


class RateReport(msgspec.Struct, frozen=True, kw_only=True):
    """`accepted` of a segment are all its accepted requests. `recovered_after_s`: how long after the overload the
    latency was normal again; null: not within the last segment, or there is none.
    """

    url: str
    started_at: str
    processes: int
    segments: list[SegmentFigures]
    recovered_after_s: float | None
    errors: dict[str, int]
    generator_cores: float
    machine: Machine


def rate_report(
    urls: tuple[str, ...],
    started_at: str,
    processes: int,
    segments: tuple[Segment, ...],
    samples: Samples,
) -> RateReport:
    figures, began_ns = [], 0.0
    for segment in segments:
        ended_ns = began_ns + segment.seconds * 1e9
        figures.append(_figures(segment, samples, began_ns, ended_ns))
        began_ns = ended_ns
    return RateReport(
        url=", ".join(urls),
        started_at=started_at,
        processes=processes,
        segments=figures,
        recovered_after_s=recovered_after_s(segments, samples),
        errors={f"{request}: {kind}": count for (request, kind), count in samples.errors.items()},
        generator_cores=samples.generator_cores,
        machine=Machine.here(),
    )


def _rows(samples: Samples) -> Iterator[tuple[int, int, int, int]]:
    return zip(samples.planned_ns, samples.took_ns, samples.what, samples.end, strict=True)


def _figures(segment: Segment, samples: Samples, began_ns: float, ended_ns: float) -> SegmentFigures:
    latencies: list[list[int]] = [[] for _ in MEASURED]
    refused: list[int] = []
    counts = dict.fromkeys(range(ends.FAILED + 1), 0)
    planned = completed = refused_creates = 0
    for planned_ns, took_ns, what, end in _rows(samples):
        if what == LIFECYCLE:
            completed += began_ns <= planned_ns + took_ns < ended_ns
        if not began_ns <= planned_ns < ended_ns:
            continue
        if what == LIFECYCLE:
            latencies[what].append(took_ns)
            continue
        planned += what == 0
        counts[end] += 1
        if end == ends.ACCEPTED:
            latencies[what].append(took_ns)
        elif end in _REFUSED:
            refused.append(took_ns)
            refused_creates += what == 0
    return SegmentFigures(
        name=segment.name,
        rate=segment.rate,
        seconds=segment.seconds,
        planned=planned,
        accepted_per_s=round(len(latencies[0]) / segment.seconds, 1),
        completed_per_s=round(completed / segment.seconds, 1),
        accepted=summarise([took for of_one in latencies[:LIFECYCLE] for took in of_one]),
        requests={name: summarise(of_one) for name, of_one in zip(MEASURED, latencies, strict=True)},
        refused=Refusals(
            status_503=counts[ends.REFUSED_503],
            status_429=counts[ends.REFUSED_429],
            without_retry_after=counts[ends.NO_RETRY_AFTER],
            creates=refused_creates,
            latency=summarise(refused),
        ),
        timeouts=counts[ends.TIMEOUT],
        lost=counts[ends.FAILED],
    )


def recovered_after_s(segments: tuple[Segment, ...], samples: Samples) -> float | None:
    """Return the seconds from the end of the second segment after which every window of the third is normal."""
    if len(segments) < 3:
        return None
    before, overload, after = (segment.seconds for segment in segments[:3])
    windows: list[list[int]] = [[] for _ in range(max(int(after / WINDOW_S), 1))]
    normal: list[int] = []
    bad = [False] * len(windows)
    for planned_ns, took_ns, what, end in _rows(samples):
        at_s = planned_ns / 1e9
        if what != 0:
            continue
        if at_s < before and end == ends.ACCEPTED:
            normal.append(took_ns)
        window = int((at_s - before - overload) // WINDOW_S)
        if 0 <= window < len(windows):
            windows[window].append(took_ns)
            bad[window] |= end != ends.ACCEPTED
    if not normal:
        return None
    limit_ns = max(2 * percentile(sorted(normal), 99), int(NORMAL_MS * 1e6))
    last = -1
    for number, window_ns in enumerate(windows):
        if bad[number] or (window_ns and percentile(sorted(window_ns), 99) > limit_ns):
            last = number
    return None if last == len(windows) - 1 else (last + 1) * WINDOW_S


def render_rate(report: RateReport, *, json: bool = False) -> str:
    """Return the text to print, with a final newline."""
    return rendered(report, _parts(report), json=json)


def _parts(report: RateReport) -> Iterator[Table | str]:
    yield _rates(report)
    yield from map(_latencies, report.segments)
    yield from (f"{count:,} times {error}" for error, count in report.errors.items())
    after = report.recovered_after_s
    if len(report.segments) > 1 and after is None:
        yield "The latency was not normal again."
    elif len(report.segments) > 1:
        yield f"The latency was normal again {after:g} s after the overload."
    yield (
        f"From {report.started_at}; the generator took {report.generator_cores:.2f} of {report.machine.cores} "
        f"cores in {report.processes} process(es) (Python {report.machine.python}, {report.machine.platform})"
    )


def _rates(report: RateReport) -> Table:
    table = Table(
        "lifecycles per second",
        "given",
        "accepted",
        "completed",
        title=f"Runstead bench of {report.url}",
        title_justify="left",
    )
    for each in report.segments:
        figures = (each.rate, each.accepted_per_s, each.completed_per_s)
        table.add_row(f"{each.name}, {each.seconds:g} s", *(f"{figure:,.0f}" for figure in figures))
    return table


def _latencies(segment: SegmentFigures) -> Table:
    table = Table(segment.name, "count", "p50 ms", "p99 ms", "max ms")
    refused = segment.refused
    rows = {**segment.requests, "all accepted requests": segment.accepted, "refused": refused.latency}
    for name, latency in rows.items():
        figures = (latency.p50_ms, latency.p99_ms, latency.max_ms)
        table.add_row(
            name, f"{latency.count:,}", *("-" if each is None else f"{each:.1f}" for each in figures)
        )
    table.add_row("of them 503, 429", f"{refused.status_503:,}, {refused.status_429:,}")
    table.add_row("without Retry-After", f"{refused.without_retry_after:,}")
    table.add_row("timeouts, lost", f"{segment.timeouts:,}, {segment.lost:,}")
    return table
