"""The options of the decorators of an `App`."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

from runstead.sdk.isolation.parent_side import ProcessLimits
from runstead.sdk.worker.cron import Cron


class Isolation(TypedDict, total=False):
    """`isolation="process"` runs each try in a process of its own.

    `memory_mb` bounds the address space, `cpu_seconds` the CPU time of the process. Above them the run fails with
    OUT_OF_MEMORY or CPU_TIME_EXCEEDED. `stop_seconds` (default 3) is the time from SIGTERM to SIGKILL for the process
    group. A process that is ended by a signal fails the run with CRASHED. Each of these failures counts as a try.
    """

    isolation: Literal["process"] | None
    memory_mb: int | None
    cpu_seconds: int | None
    stop_seconds: float


class Validation(TypedDict, total=False):
    """`validate_input=True`: the server refuses a new run whose input does not fit the handler's type hints."""

    validate_input: bool


class HandlerOptions(Isolation, Validation, total=False):
    """The options of every decorator: see `App.task`, `Isolation` and `Validation`.

    `retries` is 0 by default. `timeout_seconds` and `pinned` are None: no bound, and that of the app.
    """

    retries: int
    timeout_seconds: float | None
    pinned: bool | None


class TaskOptions(HandlerOptions, Cron, total=False):
    """The options of `@app.task` and `@app.workflow`: see `Isolation`, `Validation` and `Cron`.

    `on_cancel` is a function that undoes a run which fails or is cancelled. It gets the run's arguments, and may take the
    context first: `await ctx.steps_to_undo()` reads the results of the run's steps. It runs as a compensation with the
    target `<target>.on_cancel`, is retried 3 times, and is the last of the run's compensations.
    """

    on_cancel: Callable[..., Any] | None


def part(options: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Return the options that this TypedDict has."""
    return {name: value for name, value in options.items() if name in kind.__annotations__}


def process_limits(isolation: Mapping[str, Any]) -> ProcessLimits | None:
    """Return the limits of a process of its own. None: the handler runs in the worker. Raise ValueError."""
    how = isolation.get("isolation")
    if how not in (None, "process"):
        raise ValueError(f'isolation is "process" or None, not {how!r}')
    limits = {name: value for name, value in isolation.items() if name != "isolation"}
    if how is None and limits:
        raise ValueError(f'{", ".join(sorted(limits))} needs isolation="process"')
    return None if how is None else ProcessLimits(**limits)
