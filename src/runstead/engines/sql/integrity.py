"""A page of the check of a store, from the rows that the statements `integrity_<name>` return for its runs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from runstead.core.runs.invariants import CheckedRun, FamilyFacts, LogFacts, ParentFacts
from runstead.core.runs.run import Run

FACTS: Final = (
    "logs",
    "ends",
    "children",
    "parents",
    "attempts",
    "keys",
    "values",
    "signals",
    "waits",
    "compensations",
    "uncancelled",
    "gaps",
    "placed",
    "stored",
    "inputs",
)


def checked_runs(runs: Sequence[Run], rows: Mapping[str, Iterable[Sequence[Any]]]) -> list[CheckedRun]:
    """Join runs with their facts. `rows`: name of `FACTS` → rows that begin with the seq of a run."""
    facts = {
        name: {row[0]: tuple(row)[1:] for row in found} for name, found in rows.items() if name != "inputs"
    }
    inputs: dict[int, list[str]] = defaultdict(list)
    for seq, request_id in rows["inputs"]:
        inputs[seq].append(request_id)

    def checked(run: Run) -> CheckedRun:
        def fact(name: str, *absent: Any) -> tuple[Any, ...]:
            return facts[name].get(run.seq, absent)

        lost, latest_ended = fact("attempts", 0, 0)
        total, active = fact("children", 0, 0)
        values, latest_value = fact("values", 0, 0)
        signals, latest_signal, latest_taken = fact("signals", 0, 0, None)
        parent = fact("parents")
        return CheckedRun(
            run=run,
            log=LogFacts(*fact("logs", *(0,) * 7), *fact("ends", None, None)),
            children=(int(total), int(active)),
            parent=ParentFacts(*parent) if parent else None,
            attempts_lost=lost,
            latest_ended_attempt=latest_ended,
            latest_keyed_event=fact("keys", 0)[0],
            values=values,
            latest_value_event=latest_value,
            signals=signals,
            latest_signal=latest_signal,
            latest_signal_event=latest_taken or 0,
            event_waits=fact("waits", 0)[0],
            compensations=fact("compensations", 0)[0],
            uncancelled=fact("uncancelled", 0)[0],
            open_inputs=tuple(inputs.get(run.seq, ())),
            family=FamilyFacts(*(int(fact(name, 0)[0]) for name in ("gaps", "placed", "stored"))),
        )

    return [checked(run) for run in runs]
