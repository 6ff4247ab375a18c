"""The counts of one load process: latencies within the window, lifecycles, and errors by kind."""

from array import array
from collections.abc import Sequence

import msgspec

REQUESTS = ("create", "claim", "append", "complete")
HEALTHZ = "healthz"

ErrorKey = tuple[str, str]


class Latency(msgspec.Struct, frozen=True):
    """Latencies in milliseconds; null without measurements."""

    count: int
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


class Tally:
    """Counts answers within [start_ns, end_ns) of perf_counter_ns. Errors are also counted outside the window.

    Every latency is stored, in eight bytes, so that percentiles are exact.
    """

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.latencies_ns: dict[str, array[int]] = {name: array("Q") for name in (*REQUESTS, HEALTHZ)}
        self.lifecycles = 0
        self.errors: dict[ErrorKey, tuple[int, str]] = {}

    def answered(self, request: str, answered_ns: int, elapsed_ns: int) -> None:
        if self.start_ns <= answered_ns < self.end_ns:
            self.latencies_ns[request].append(elapsed_ns)

    def lifecycle(self, answered_ns: int) -> None:
        if self.start_ns <= answered_ns < self.end_ns:
            self.lifecycles += 1

    def error(self, request: str, kind: str, sample: str) -> None:
        """Count an error. `kind` is the status or another error; the first sample of each kind is stored."""
        count, first = self.errors.get((request, kind), (0, sample))
        self.errors[request, kind] = (count + 1, first)

    def merge(self, other: "Tally") -> None:
        """Add the counts of another process, whose window has the same length."""
        for name, latencies in other.latencies_ns.items():
            self.latencies_ns[name].extend(latencies)
        self.lifecycles += other.lifecycles
        for key, (count, sample) in other.errors.items():
            mine, first = self.errors.get(key, (0, sample))
            self.errors[key] = (mine + count, first)


def percentile(ordered: Sequence[int], share: int) -> int:
    """Return the nearest-rank percentile of ascending samples: `share` percent of them are not above it."""
    assert ordered, "a percentile needs samples"
    rank = -(-share * len(ordered) // 100)
    return ordered[max(rank, 1) - 1]


def summarise(samples_ns: Sequence[int]) -> Latency:
    """Return the latencies of one request, in milliseconds rounded to the microsecond."""
    if not samples_ns:
        return Latency(count=0)
    ordered = sorted(samples_ns)
    return Latency(
        count=len(ordered),
        p50_ms=_ms(percentile(ordered, 50)),
        p99_ms=_ms(percentile(ordered, 99)),
        max_ms=_ms(ordered[-1]),
    )


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)
