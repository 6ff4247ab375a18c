"""Flow control of new runs: unique keys and debounces. A key belongs to the target of its run."""

from typing import Final, NamedTuple

import msgspec

from runstead.core.errors import Error, invalid_at
from runstead.core.runs.run import KEYED, Run, RunStatus


class Unique(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most one run of the key: while one is active, or `seconds` after one was created."""

    key: str
    seconds: int | None = None


class Debounce(msgspec.Struct, frozen=True, omit_defaults=True):
    """Runs of the key wait `seconds` for a later request, which replaces their input, but at most `max_seconds`."""

    key: str
    seconds: int
    max_seconds: int | None = None


class Flow(msgspec.Struct, frozen=True, omit_defaults=True):
    """The flow control of a new run."""

    concurrency_key: str | None = None
    unique: Unique | None = None
    debounce: Debounce | None = None

    @property
    def finds_runs(self) -> bool:
        """Whether an existing run may take the place of the new one."""
        return self.unique is not None or self.debounce is not None

    def check(self) -> None:
        """INVALID_REQUEST for members that exclude each other."""
        if self.unique is not None and self.debounce is not None:
            raise invalid_at(
                "$.debounce",
                "not together with unique",
                "unique keeps the first input and debounce the last one: give one of them",
            )
        longest = None if self.debounce is None else self.debounce.max_seconds
        if self.debounce is not None and longest is not None and longest < self.debounce.seconds:
            raise invalid_at(
                "$.debounce.max_seconds",
                "less than seconds",
                f"max_seconds must be at least seconds, which is {self.debounce.seconds}",
            )


NO_FLOW: Final = Flow()


class WantedKeys(NamedTuple):
    """The keys of a new run whose runs are loaded. An empty target stands for none."""

    target: str
    unique: str | None = None
    debounce: str | None = None


class KeyedRuns(NamedTuple):
    """The runs of `WantedKeys` under lock: the newest with the unique key, the newest pending with the debounce key."""

    unique: Run | None = None
    debounce: Run | None = None


NO_KEYED_RUNS: Final = KeyedRuns()


def wanted_keys(flow: Flow, target: str | None) -> WantedKeys | None:
    """Return the keys to load, None for a flow that finds no runs."""
    if not flow.finds_runs:
        return None
    unique = None if flow.unique is None else flow.unique.key
    debounce = None if flow.debounce is None else flow.debounce.key
    return WantedKeys(target or "", unique=unique, debounce=debounce)


def holds(run: Run, unique: Unique, now: int) -> bool:
    """Whether the run holds the unique key. `now` in ms."""
    if unique.seconds is None:
        return not run.terminal
    return now < run.created_at + unique.seconds * 1000


def takes_over(run: Run) -> bool:
    """Whether a debounced run has not been claimed yet, so that it can take over a later request."""
    return run.status is RunStatus.PENDING and run.attempt == 0 and run.available_at is not None


def delayed_until(debounce: Debounce, until: int | None, now: int) -> int:
    """When a debounced run becomes available after a request at `now`. All times in ms."""
    at = now + debounce.seconds * 1000
    return at if until is None else min(at, until)


def keyed(run: Run, flow: Flow) -> Run:
    """Return a drafted run with the keys of its flow. INVALID_REQUEST for a concurrency key of an agent's run."""
    if flow is NO_FLOW:
        return run
    if flow.concurrency_key is not None:
        if run.kind == "agent":
            raise no_key_for_agents()
        run = msgspec.structs.replace(
            run, concurrency_key=flow.concurrency_key, priority=run.priority - KEYED
        )
    return msgspec.structs.replace(
        run,
        unique_key=None if flow.unique is None else flow.unique.key,
        debounce_key=None if flow.debounce is None else flow.debounce.key,
    )


def no_key_for_agents() -> Error:
    """The refusal of a concurrency key of an agent's run."""
    return invalid_at(
        "$.concurrency_key",
        "not for this kind",
        "A run of kind agent takes no concurrency_key: tasks, workflows and evals do",
    )
