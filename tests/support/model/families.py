"""A family's events in one order, counts, and what its runs used, in memory."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

from runstead.core.runs.event import Event, FamilyEvent
from runstead.core.runs.run import Run
from runstead.core.usage.usage import FamilyUsage, RunUsage, read, tally
from runstead.ports.store import FamilyPage, TypeCount
from tests.support.model.rows import Rows


def page(
    rows: Rows, run: Run, after: int, limit: int, bytes_max: int | None, types: Sequence[str]
) -> FamilyPage:
    """See `runstead.ports.store.Runs.family_events`."""
    root_seq = run.root_seq or run.seq
    current = rows.runs.get(run.seq)
    ended = current is None or (current.terminal and current.descendants_active == 0)
    places = rows.family_logs.get(root_seq, [])
    events: list[FamilyEvent] = []
    size = 0
    for position, (seq, event_id) in enumerate(islice(places, after, None), after + 1):
        member = rows.runs.get(seq)
        if member is None or (run.seq not in (root_seq, seq) and f"/{run.seq}/" not in member.path):
            continue
        event = rows.events[seq][event_id - 1]
        if event.private or (types and event.type not in types):
            continue
        size += len(event.payload)
        if len(events) == limit or (events and bytes_max is not None and size > bytes_max):
            return FamilyPage(events, events[-1].position, more=True, ended=ended)
        events.append(FamilyEvent(member.run_id, position, event))
    return FamilyPage(events, len(places), more=False, ended=ended)


def event_counts(rows: Rows, seq: int) -> list[TypeCount]:
    """See `runstead.ports.store.Runs.event_counts`."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in rows.events.get(seq, ()):
        if not event.private:
            found[event.type].append(event)
    counts = [
        TypeCount(name, len(events), min(e.created_at for e in events), max(e.created_at for e in events))
        for name, events in found.items()
    ]
    return sorted(counts, key=lambda one: (-one.count, one.type))


def usage(rows: Rows, run: Run) -> FamilyUsage:
    """See `runstead.ports.store.Runs.usage`."""
    return tally(run.seq, map(_usage, rows.family(run.root_seq or run.seq)))


def _usage(run: Run) -> RunUsage:
    reported = None if run.metadata is None else read(run.metadata)
    return RunUsage(run.seq, run.path, run.terminal, reported)
