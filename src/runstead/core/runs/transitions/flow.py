"""Flow control when a run is created: an existing run that takes the place of the new one."""

from msgspec.structs import replace

from runstead.core.runs import flow as rules
from runstead.core.runs.flow import Debounce, Flow
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Loaded, Transition
from runstead.core.runs.transitions.machine import rewrite


def find_existing(run: Run, flow: Flow, loaded: Loaded) -> Transition | None:
    """Return the transition of the run that holds the unique key, or that takes over the request of a debounce.

    None: there is no such run, and `run` is created. `run` is drafted.
    """
    found = loaded.keyed
    holder = found.unique
    if flow.unique is not None and holder is not None and rules.holds(holder, flow.unique, loaded.now):
        return Transition(holder, duplicate=True)
    if flow.debounce is not None and found.debounce is not None and rules.takes_over(found.debounce):
        old = found.debounce
        now = max(loaded.now, old.updated_at)
        taken = rewrite(
            old,
            now,
            input=run.input,
            config=run.config,
            request_snapshot=run.request_snapshot,
            available_at=rules.delayed_until(flow.debounce, old.debounce_until, now),
            debounced=(old.debounced or 0) + 1,
        )
        return Transition(taken, duplicate=True)
    return None


def delay(run: Run, debounce: Debounce, now: int) -> Run:
    """Return the drafted run with the delay of its debounce."""
    until = None if debounce.max_seconds is None else now + debounce.max_seconds * 1000
    at = rules.delayed_until(debounce, until, now)
    return replace(run, available_at=at, debounce_until=until)
