"""What an operator sees: log lines on stderr, counters at `/metrics`."""

import logging
import sys
from typing import Any, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from runstead.leadership import Standing

registry = CollectorRegistry()
requests = Counter(
    "runstead_http_requests_total", "Answered requests.", ["route", "method", "status"], registry=registry
)
seconds = Histogram(
    "runstead_http_request_seconds",
    "Time to answer a request.",
    ["route", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30),
    registry=registry,
)
streams = Gauge("runstead_streams", "Open event streams.", registry=registry)
runs_ended_by_referee = Counter(
    "runstead_referee_total",
    "What the referee did with runs whose time was up.",
    ["outcome"],
    registry=registry,
)
silences = Counter(
    "runstead_silences_total",
    "Workers and push services that were noticed to have fallen silent.",
    ["kind"],
    registry=registry,
)
dispatches = Counter(
    "runstead_dispatches_total",
    "Calls to push services: runs handed over, tried again, given up, stopped.",
    ["outcome"],
    registry=registry,
)
deliveries = Counter(
    "runstead_deliveries_total",
    "Attempts to deliver to webhooks: arrived, tried again, given up, given up with the webhook.",
    ["outcome"],
    registry=registry,
)
firings = Counter(
    "runstead_schedule_firings_total",
    "What came of schedules that were due: a run, none since one had not ended, none at all.",
    ["outcome"],
    registry=registry,
)
queue_depth = Gauge("runstead_store_queue_depth", "Writes that wait for a commit.", registry=registry)
commits = Gauge("runstead_store_commits_total", "Transactions committed since start.", registry=registry)
commands = Gauge("runstead_store_commands_total", "Commands committed since start.", registry=registry)

leader = Gauge("runstead_leader", "1 where this replica leads, else 0.", registry=registry)
leader_term = Gauge("runstead_leader_term", "The newest leader's term that is known here.", registry=registry)
loop_ticks = Counter(
    "runstead_loop_ticks_total", "Ticks that came to their end.", ["loop"], registry=registry
)
loop_failures = Counter(
    "runstead_loop_failures_total",
    "Ticks that met trouble; each is tried again.",
    ["loop"],
    registry=registry,
)
loop_rows = Counter("runstead_loop_rows_total", "What the ticks found to do.", ["loop"], registry=registry)
loop_success = Gauge(
    "runstead_loop_last_success_timestamp_seconds",
    "When a tick last came to its end, in seconds since 1970; 0 where none has.",
    ["loop"],
    registry=registry,
)


_children: dict[tuple[str, str, int], tuple[Any, Any]] = {}


def count(route: str, method: str, status: int, took_s: float) -> None:
    """Note one answered request. Labelled children are kept: finding them costs more than counting."""
    key = (route, method, status)
    child = _children.get(key)
    if child is None:
        child = requests.labels(route, method, status), seconds.labels(route, method)
        _children[key] = child
    child[0].inc()
    child[1].observe(took_s)


def know_loop(name: str) -> None:
    """Tell of it from the start: an operator cannot miss what was never there."""
    for metric in (loop_ticks, loop_failures, loop_rows, loop_success):
        metric.labels(name)


class LoopState(NamedTuple):
    """`succeeded_at` in ms, None where no tick came to its end yet."""

    name: str
    succeeded_at: int | None
    ticks: int
    failures: int


def loops() -> list[LoopState]:
    """How the loops of this process fare, by name."""
    told: dict[str, dict[str, float]] = {}
    for metric in (loop_success, loop_ticks, loop_failures):
        for family in metric.collect():
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    told.setdefault(sample.labels["loop"], {})[family.name] = sample.value
    return [
        LoopState(
            name,
            round(values["runstead_loop_last_success_timestamp_seconds"] * 1000) or None,
            round(values["runstead_loop_ticks"]),
            round(values["runstead_loop_failures"]),
        )
        for name, values in sorted(told.items())
    ]


def exposition(facts: dict[str, Any], standing: Standing) -> bytes:
    """This process's text of `/metrics`, with the store's facts of this moment."""
    leader.set(standing.leads)
    leader_term.set(standing.term)
    queue_depth.set(facts.get("queue_depth", 0))
    commits.set(facts.get("commits", 0))
    commands.set(facts.get("commands", 0))
    return generate_latest(registry)


def log_to_stderr() -> None:
    """One line per event: for people on a terminal, JSON elsewhere. stdout belongs to the commands' own answers."""
    renderer: Any = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        # Where rich is installed, its tracebacks would show every local variable: bodies, credentials, secrets.
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if sys.stderr.isatty() else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
