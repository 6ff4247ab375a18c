"""The check of a store: pages of runs with what the statements `integrity_<name>` return for them, and its statistics."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from runstead.core.runs.invariants import CheckedRun, FamilyFacts, LogFacts, ParentFacts
from runstead.core.runs.run import Run
from runstead.engines.sql.steps import Call, Steps, select, select_rows
from runstead.ports.store import IntegrityPage, Sizes, Stats, TableSize

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


Rows = Sequence[tuple[Any, ...]]


class _StatusCount(NamedTuple):
    """The runs of one status, and their events."""

    status: str
    runs: int
    events: int
    oldest_pending_at: int | None


def rows_of(statement: str, **arguments: Any) -> Steps[list[tuple[Any, ...]]]:
    found = yield from select_rows(statement, **arguments)
    return [tuple(row.values()) for row in found]


def checked_page(
    read_runs: Callable[..., list[Run] | Awaitable[list[Run]]],
    find_orphans: Callable[..., list[tuple[str, int]] | Awaitable[list[tuple[str, int]]]],
    after: int,
    limit: int,
    seq_max: int,
) -> Steps[IntegrityPage]:
    """See `runstead.ports.store.Integrity.runs`. `read_runs(connection, after, limit)` reads runs without large values,
    `find_orphans(connection, after, last)` the (table, run_seq) of rows without a run. `seq_max`: the last seq of all.
    """
    runs: list[Run] = yield Call(read_runs, (after, limit))
    more = len(runs) == limit
    last = runs[-1].seq if more else seq_max
    rows: dict[str, Rows] = {}
    for name in FACTS:
        rows[name] = yield from rows_of(f"integrity_{name}", after=after, last=last)
    orphans: list[tuple[str, int]] = yield Call(find_orphans, (after, last))
    return IntegrityPage(_checked_runs(runs, rows), orphans, runs[-1].seq if runs else after, more)


def counted() -> Steps[list[_StatusCount]]:
    return select("stats_runs", _StatusCount)


def stats_of(engine: str, counts: Sequence[_StatusCount], sizes: Sizes, tables: list[TableSize]) -> Stats:
    runs = sum(each.runs for each in counts)
    pending = [each.oldest_pending_at for each in counts if each.oldest_pending_at is not None]
    return Stats(
        engine=engine,
        bytes=sizes.database,
        log_bytes=sizes.wal,
        tables=tables,
        runs={each.status: each.runs for each in counts},
        oldest_pending_at=min(pending, default=None),
        events_per_run=sum(each.events for each in counts) / runs if runs else None,
    )


def _checked_runs(runs: Sequence[Run], rows: Mapping[str, Rows]) -> list[CheckedRun]:
    """Join runs with their facts. `rows`: name of `FACTS` → rows that begin with the seq of a run."""
    facts = {name: {row[0]: row[1:] for row in found} for name, found in rows.items() if name != "inputs"}
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
