"""Sums of what runs used and came to, in memory."""

from collections import Counter
from collections.abc import Iterable

from runstead.core.runs.run import Run
from runstead.core.usage.activity import Share, share
from runstead.core.usage.rollup import (
    WEEKS,
    ActivityKey,
    Additions,
    Durations,
    Line,
    Span,
    StoredEntries,
    Sums,
    UsageKey,
    decode_facts,
    facts_of,
    lines,
    packed,
    uncoded,
)
from runstead.core.usage.rollup_check import RollupChecker
from runstead.ports.store import ActivityQuery, Edge, Rollups, RunQuery, UsagePage, UsageQuery, WaySums
from tests.support.model.journal import Journal
from tests.support.model.pages import matches
from tests.support.model.rows import Rows


class ModelRollups(Rollups):
    def __init__(self, journal: Journal, rows: Rows) -> None:
        self._journal = journal
        self._rows = rows
        self._usage: dict[UsageKey, Sums] = {}
        self._activity: dict[ActivityKey, tuple[int, Durations]] = {}

    async def add_entries(self, limit: int) -> int:
        entries = self._rows.rollup_entries[:limit]
        additions = Additions((one.action, one.project_id, decode_facts(one.facts)) for one in entries)

        def effect() -> None:
            del self._rows.rollup_entries[:limit]
            for key, sums in additions.usage.items():
                there = self._usage.get(key, [0, 0, 0, 0, 0])
                self._usage[key] = [a + b for a, b in zip(there, sums, strict=True)]
            for name, (runs, durations) in additions.activity.items():
                before, took = self._activity.get(name, (0, Counter()))
                for ms, count in durations.items():
                    took[ms] += count
                self._activity[name] = before + runs, took
            used, active = additions.emptied
            for key in used:
                if not any(self._usage[key]):
                    del self._usage[key]
            for name in active:
                runs, took = self._activity[name]
                if not runs and not any(took.values()):
                    del self._activity[name]

        return self._journal.write(None, lambda _: (len(entries), effect))

    async def catch_up(self, limit: int) -> int:  # noqa: ARG002 - nothing is older than the sums
        return 0

    async def usage(self, query: UsageQuery) -> UsagePage:
        rows = [facts_of(run) for edge in query.edges for run in self._ended(query.project_id, edge)]
        unsummed = query.pending(self._told(query.project_id), rows)

        def sums(way: str, *, by_model: bool = False) -> WaySums:
            found: dict[tuple[str, str, str], Sums] = {}
            parts = self._between(query, way) + lines(way, unsummed)
            for line in parts:
                name = line.model if by_model else line.name
                there = found.setdefault((name, line.provider, line.model), [0, 0, 0, 0, 0])
                for place, value in enumerate(line[3:]):
                    there[place] += value
            kept = [Line(*key, *values) for key, values in found.items() if values[0]]
            tokens: Counter[str] = Counter({line.name: 0 for line in kept})
            for line in kept:
                tokens[line.name] += line.input_tokens + line.output_tokens
            order = sorted(sorted(tokens), key=lambda name: -tokens[name])
            if way == "day":
                order.sort(reverse=True)
            first = set(order[: query.groups])
            return WaySums([line for line in kept if line.name in first], len(order))

        living = sum(
            run.project_id == query.project_id
            and not run.terminal
            and query.since <= run.created_at < query.until
            for run in self._rows.runs.values()
        )
        ended = sum(line.runs for line in sums("ended").lines)
        ways = {way: sums(way, by_model=way == "model") for way in query.ways}
        return UsagePage(ways, sums("model").lines, ended + living, truncated=False)

    async def families(self, project_id: str, span: Span, most: int) -> int:
        found = sum(
            (key.project_id, key.way, key.width) == (project_id, "family", span.width)
            and span.since <= key.bucket < span.until
            for key in self._usage
        )
        return min(found, most)

    def _between(self, query: UsageQuery, way: str) -> list[Line]:
        spans = query.spans(way)
        return [
            Line(key.name, key.provider, key.model, *sums)
            for key, sums in self._usage.items()
            if (key.project_id, key.way) == (query.project_id, way)
            and any(one.width == key.width and one.since <= key.bucket < one.until for one in spans)
        ]

    def _ended(self, project_id: str, edge: Edge) -> Iterable[Run]:
        return (
            run
            for run in self._rows.runs.values()
            if run.project_id == project_id and run.terminal and edge.since <= run.created_at < edge.until
        )

    def _told(self, project_id: str) -> StoredEntries:
        entries = self._rows.rollup_entries
        return [(one.action, one.facts) for one in entries if one.project_id == project_id]

    async def targets(self, project_id: str, most: int) -> list[str]:
        names = {key.name for key in self._activity if (key.project_id, key.way) == (project_id, "target")}
        return sorted(uncoded(name) for name in names if name)[:most]

    async def activity(self, query: ActivityQuery) -> list[Share] | None:
        (project_id,) = query.filters.project_ids
        found = query.merged()
        found.add(
            query.summed(
                (key.bucket, key.kind, key.status, runs, packed(durations))
                for key, (runs, durations) in self._activity.items()
                if key.project_id == project_id
                and (key.way, key.name) == query.way
                and any(one.width == key.width and one.since <= key.bucket < one.until for one in query.spans)
            )
        )
        found.add(query.pending(self._told(project_id)))
        for rows in (query.living, *map(query.ended, query.edges)):
            if rows is not None:
                found.add(shares(self._rows, rows, *query.where))
        return found.shares()

    async def integrity(self) -> list[str]:
        auditor = RollupChecker()
        for run in self._rows.runs.values():
            if run.terminal:
                auditor.run(run.project_id, facts_of(run))
        for entry in self._rows.rollup_entries:
            auditor.entry(entry.project_id, entry.action, decode_facts(entry.facts))
        for key, sums in self._usage.items():
            name = key.name if key.way == "gone" else ""
            auditor.usage(
                key.project_id,
                key.way,
                key.width,
                key.bucket // WEEKS,
                name,
                key.provider,
                key.model,
                *sums,
            )
        for told, (runs, durations) in self._activity.items():
            weeks = told.bucket // WEEKS
            auditor.activity(
                told.project_id, told.way, told.width, weeks, told.kind, told.status, runs, packed(durations)
            )
        return auditor.wrong()


def shares(rows: Rows, query: RunQuery, origin: int, width: int) -> list[Share]:
    """See `runstead.ports.store.Runs.shares`."""
    return [
        share(origin + (run.created_at - origin) // width * width, run.status, run.duration_ms, 1)
        for run in rows.runs.values()
        if matches(run, query)
    ]
