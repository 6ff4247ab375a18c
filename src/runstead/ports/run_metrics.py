"""The metrics of runs that this process changed: created and ended runs, attempts, time in the queue, events, tokens.

Plain numbers, because counting is frequent and reading is rare.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final, get_args

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from runstead.core.runs.run import TERMINAL, Run, RunStatus
from runstead.core.runs.transition import AttemptOutcome
from runstead.ports.metrics import registry
from runstead.ports.store import Written

_WAITS_MS: Final = (10, 50, 100, 500, 1_000, 5_000, 15_000, 60_000, 300_000, 1_800_000, 7_200_000, 86_400_000)
_TOKENS: Final = ("input", "output", "cached_input", "reasoning")


class _Counts:
    """What was counted since the start of the process."""

    def __init__(self) -> None:
        self.since = time.time()
        self.created = 0
        self.events = 0
        self.ended: dict[str, int] = dict.fromkeys(sorted(TERMINAL), 0)
        self.attempts: dict[str, int] = dict.fromkeys((*sorted(TERMINAL), *get_args(AttemptOutcome)), 0)
        self.waits = [0] * (len(_WAITS_MS) + 1)
        self.waited_ms = 0
        self.tokens = [0] * len(_TOKENS)


_counts = _Counts()


def count(written: Written) -> None:
    """Count what a command wrote."""
    run, before, transition = written.run, written.before, written.transition
    if run is before:
        return
    _counts.events += len(transition.events)
    if before is None:
        _counts.created += 1
    if transition.ended is not None:
        _counts.attempts[transition.ended.outcome] += 1
    if run.terminal and (before is None or not before.terminal):
        _counts.ended[run.status] += 1
        if transition.ended is None and before is not None and _in_attempt(before):
            _counts.attempts[run.status] += 1
    for descendant in written.cancelled:
        _counts.ended[descendant.status] += 1
    if written.compensations:
        _counts.created += sum(each.version == 1 for each in written.compensations)


def _in_attempt(run: Run) -> bool:
    return run.lease_owner is not None or run.status is RunStatus.RUNNING


def count_claims(runs: Iterable[Run], available_at: Mapping[int, int]) -> None:
    """Count the time in the queue of claimed runs. `available_at`: seq → the time since which it could be claimed."""
    for run in runs:
        waited = max(run.updated_at - available_at.get(run.seq, run.updated_at), 0)
        _counts.waits[bisect_left(_WAITS_MS, waited)] += 1
        _counts.waited_ms += waited


def count_tokens(tokens: Iterable[int]) -> None:
    """Count tokens of ended runs: input, output, cached input, reasoning."""
    for place, number in enumerate(tokens):
        _counts.tokens[place] += number


class _Runs(Collector):
    """The counted numbers as metrics."""

    def collect(self) -> Iterator[Metric]:
        yield _counter("runstead_runs_created_total", "Created runs.", _counts.created)
        yield _counter("runstead_events_total", "Stored events of runs.", _counts.events)
        yield _by("runstead_runs_ended_total", "Ended runs, by status.", "status", _counts.ended)
        yield _by("runstead_attempts_total", "Ended attempts, by outcome.", "outcome", _counts.attempts)
        tokens = dict(zip(_TOKENS, _counts.tokens, strict=True))
        yield _by("runstead_tokens_total", "Tokens of ended runs, by type.", "type", tokens)
        waits = HistogramMetricFamily(
            "runstead_queue_seconds", "Time from when a run could be claimed until its claim."
        )
        bounds = [*(str(each / 1000) for each in _WAITS_MS), "+Inf"]
        waits.add_metric(
            [], list(zip(bounds, accumulate(_counts.waits), strict=True)), _counts.waited_ms / 1000
        )
        waits.add_sample(f"{waits.name}_created", {}, _counts.since)
        yield waits


def _counter(name: str, text: str, value: int) -> Metric:
    metric = CounterMetricFamily(name, text)
    metric.add_metric([], value, created=_counts.since)
    return metric


def _by(name: str, text: str, label: str, numbers: Mapping[str, int]) -> Metric:
    metric = CounterMetricFamily(name, text, labels=[label])
    for value, number in numbers.items():
        metric.add_metric([value], number, created=_counts.since)
    return metric


registry.register(_Runs())
