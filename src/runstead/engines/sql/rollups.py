"""Roll-ups of usage and activity: reports, and the runs of older versions. Each engine adds entries in its own way."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from runstead.core import limits
from runstead.core.runs.run import RunStatus
from runstead.core.usage.activity import Share
from runstead.core.usage.rollup import (
    FACT_FIELDS,
    Added,
    Additions,
    Facts,
    Line,
    Span,
    StoredEntries,
    decode_facts,
    facts,
    lines,
    packed,
    uncoded,
)
from runstead.core.usage.rollup_check import RollupChecker
from runstead.engines.sql.steps import (
    Call,
    Database,
    Steps,
    each,
    execute,
    execute_many,
    select,
    select_rows,
    value,
    values,
)
from runstead.ports.store import ActivityQuery, UsagePage, UsageQuery, WaySums

_encode = msgspec.json.Encoder().encode


class _Sum(NamedTuple):
    """A sum of activity: `durations` as `core.usage.rollup.packed` encodes them."""

    bucket: int
    kind: str
    status: str
    runs: int
    durations: bytes


def facts_in(row: Mapping[str, Any]) -> Facts:
    """The facts of an ended run, from a row that has their columns among others."""
    columns = {name: row[name] for name in FACT_FIELDS}
    return facts(**columns | {"status": RunStatus(row["status"])})


class SqlRollups:
    def __init__(
        self, database: Database, shares: Callable[..., list[Share] | Awaitable[list[Share]]]
    ) -> None:
        """`shares(connection, list of runs, origin, width)` counts the runs of a list."""
        self._database = database
        self._shares = shares

    async def usage(self, query: UsageQuery) -> UsagePage:
        return await self._database.snapshot(self._usage, query)

    async def families(self, project_id: str, span: Span, most: int) -> int:
        found: int = await self._database.snapshot(
            value, "count_usage_families", project_id=project_id, **span._asdict(), most=most
        )
        return found

    async def targets(self, project_id: str, most: int) -> list[str]:
        names = await self._database.snapshot(values, "activity_targets", project_id=project_id, most=most)
        return [uncoded(name) or "" for name in names]

    async def activity(self, query: ActivityQuery) -> list[Share] | None:
        return await self._database.snapshot(self._activity, query)

    def _usage(self, query: UsageQuery) -> Steps[UsagePage]:
        project_id = query.project_id
        rows: list[Facts] = []

        def add(row: Mapping[str, Any]) -> None:
            rows.append(facts_in(row))

        for edge in query.edges:
            yield from each("edge_facts", add, project_id=project_id, **edge._asdict())
        truncated = False
        below_seq = yield from value("rollup_backlog")
        if below_seq is not None:
            most = limits.usage_backlog_max
            for _, since, until in query.cover.spans:
                before = len(rows)
                period = {"below_seq": below_seq, "since": since, "until": until}
                yield from each("backlog_facts", add, project_id=project_id, **period, limit=most + 1)
                truncated = truncated or len(rows) - before > most
                del rows[before + most :]
        unsummed = query.pending((yield from _entries_of(project_id)), rows)

        def sums(way: str, groups: int, *, by_model: bool = False) -> Steps[WaySums]:
            found = yield from select_rows(
                "usage_lines",
                project_id=project_id,
                way=way,
                spans=_encode(query.spans(way)).decode(),
                unsummed=_encode(lines(way, unsummed)).decode(),
                groups=groups,
                by_model=by_model,
            )
            count = found[0]["groups"] if found else 0
            return WaySums([Line(**{name: row[name] for name in Line._fields}) for row in found], count)

        ended = sum(line.runs for line in (yield from sums("ended", 1)).lines)
        active = yield from value("count_active", project_id=project_id, since=query.since, until=query.until)
        ways = {}
        for way in query.ways:
            ways[way] = yield from sums(way, query.groups, by_model=way == "model")
        return UsagePage(ways, (yield from sums("model", 1)).lines, ended + active, truncated)

    def _activity(self, query: ActivityQuery) -> Steps[list[Share] | None]:
        if (yield from value("rollup_backlog")) is not None:
            return None
        project_id = query.filters.project_ids[0]
        found = query.merged()
        way, name = query.way
        for span in query.spans:
            sums = yield from select(
                "activity_between", _Sum, project_id=project_id, way=way, name=name, **span._asdict()
            )
            found.add(query.summed(sums))
        found.add(query.pending((yield from _entries_of(project_id))))
        for runs in (query.living, *map(query.ended, query.edges)):
            if runs is not None:
                found.add((yield Call(self._shares, (runs, *query.where))))
        return found.shares()

    def _check(self) -> Steps[list[str]]:
        checker = RollupChecker()
        yield from each("integrity_rollup_runs", lambda row: checker.run(row["project_id"], facts_in(row)))
        yield from each(
            "integrity_rollup_entries",
            lambda row: checker.entry(row["project_id"], row["action"], decode_facts(row["facts"])),
        )
        yield from each("integrity_usage", lambda row: checker.usage(*row.values()))
        yield from each("integrity_activity", lambda row: checker.activity(*row.values()))
        return checker.wrong()

    def _catch_up(self, limit: int, add: Callable[..., Any]) -> Steps[int]:
        """See `runstead.ports.store.Rollups.catch_up`. `add(connection, additions)` changes the sums."""
        below_seq = yield from value("rollup_backlog")
        if below_seq is None:
            return 0
        rows = yield from select_rows("rollup_backlog_runs", below_seq=below_seq, limit=limit)
        found: list[Added] = [("ended", row["project_id"], facts_in(row)) for row in rows if row["counts"]]
        yield Call(add, (Additions(found),))
        rest = rows[-1]["seq"] if len(rows) == limit else None
        if rest is None:
            yield from execute("end_rollup_backlog")
        else:
            yield from execute("move_rollup_backlog", seq=rest)
        yield from execute("forget_rollup_open", seq=rest or 0)
        return len(rows)


def drop_empty(additions: Additions) -> Steps[None]:
    """Delete the sums that these additions have made zero."""
    used, active = additions.emptied
    yield from execute_many("drop_empty_usage", [key._asdict() for key in used])
    empty = packed(Counter())
    yield from execute_many(
        "drop_empty_activity", [{**key._asdict(), "no_durations": empty} for key in active]
    )


def _entries_of(project_id: str) -> Steps[StoredEntries]:
    rows: Sequence[Mapping[str, Any]] = yield from select_rows("rollup_entries_of", project_id=project_id)
    return [(row["action"], row["facts"]) for row in rows]
