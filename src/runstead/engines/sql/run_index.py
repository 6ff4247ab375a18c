"""Maintains the search index of runs, by a loop after the writes.

A block of runs is indexed as a whole once a newer run exists, so commands that write runs pay nothing for it. Triggers
record changes to runs of an indexed block, or of one that is being indexed; the loop applies them later. Until then a
search reads such runs from the table.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from runstead.core import limits
from runstead.engines.sql.pacing import paced
from runstead.engines.sql.postings import (
    BLOCK,
    bits_of,
    duration_at,
    pack,
    pack_durations,
    pack_offsets,
    unpack,
    unpack_slices,
    with_durations,
)
from runstead.engines.sql.run_terms import (
    BOUNDS,
    DURATIONS,
    ENDED,
    OPEN,
    PROJECTS,
    Bounds,
    Facts,
    Value,
    bounds_of,
    own_grams,
    pack_bounds,
    status_term,
    terms_of,
    terms_of_value,
    unpack_bounds,
    values_of,
)

Row: TypeAlias = Sequence[Any]
Statement: TypeAlias = tuple[str, Sequence[Row]]
"""A named statement and its rows of arguments; it is executed once per row."""


class SqlRunIndex(ABC):
    """The index, with the operations that it needs from an engine. Statements have the names of the run_index.sql files."""

    async def advance(self) -> int:
        return await _apply_changes(self) + await _index_next(self)

    async def faults(self, after: int) -> tuple[list[str], int | None]:
        return await _find_faults(self, after)

    @abstractmethod
    async def read(self, name: str, *arguments: Any) -> Sequence[Row]: ...

    @abstractmethod
    async def write(self, version: int, statements: Sequence[Statement]) -> bool:
        """Execute all in one transaction and increment the version. False, and no effect, if the version is another:
        another replica maintains the index.
        """

    @abstractmethod
    async def wait_for_writers(self) -> bool:
        """Wait for every transaction that may have drawn a seq or changed a run before the call, so that its writes
        are visible. False if one takes too long.
        """

    @abstractmethod
    async def read_snapshot(self, *reads: tuple[str, Sequence[Any]]) -> Sequence[Sequence[Row]]:
        """The rows of several statements, all from one snapshot."""


class _State(NamedTuple):
    """Runs with a seq below `mark` are indexed; changes of those below `noted` are recorded."""

    version: int
    mark: int
    noted: int
    newest: int
    oldest: int  # of the runs from the mark on


class _Change(NamedTuple):
    id: int
    seq: int
    named: bool  # more than the status may have changed


async def _state(tables: SqlRunIndex) -> _State:
    [row] = await tables.read("index_state")
    return _State(*row)


async def _index_next(tables: SqlRunIndex) -> int:
    state = await _state(tables)
    version, block = state.version, state.mark // BLOCK
    if state.noted <= state.mark:
        end = min(state.newest // BLOCK, block + limits.index_blocks_noted_max) * BLOCK
        if end <= state.mark or not await tables.write(version, [("note_changes", [(end,)])]):
            return 0
        state, version = state._replace(noted=end), version + 1
    if not await tables.wait_for_writers():
        return 0
    block = min(max(state.oldest, state.mark), state.noted - 1) // BLOCK
    facts: list[Facts] = []
    for first in range(block * BLOCK, (block + 1) * BLOCK, limits.index_facts_max):
        facts += _facts(await tables.read("index_facts", first, first + limits.index_facts_max))
    terms = await asyncio.to_thread(_build_terms, facts)
    rows = [(block, term, runs) for term, runs in terms.items()]
    step = limits.index_rows_max
    pieces = [rows[start : start + step] for start in range(0, len(rows), step)]
    # No search reads a block before the mark has passed it.
    statements: list[Statement] = [("drop_block", [(block,)])]
    statements += [("put_terms", piece) for piece in pieces]
    for statement in statements:
        if not await tables.write(version, [statement]):
            return 0
        version += 1
    moved = await tables.write(version, [("move_mark", [((block + 1) * BLOCK,)])])
    return max(len(facts), 1) if moved else 0


def _facts(rows: Iterable[Row]) -> list[Facts]:
    return [Facts(*row) for row in rows]


def _build_terms(runs: Sequence[Facts]) -> dict[bytes, bytes]:
    """The terms of a block, sorted. Paced, because other threads wait for the GIL."""
    by_value: dict[Value, list[int]] = defaultdict(list)
    offsets: dict[bytes, list[int]] = defaultdict(list)
    for run in paced(runs):
        offset = run.seq % BLOCK
        for value in values_of(run):
            by_value[value].append(offset)
        for gram in own_grams(run):
            offsets[gram].append(offset)
    shared: dict[bytes, int] = defaultdict(int)
    for value, members in paced(by_value.items()):
        if len(members) == 1:
            for term in terms_of_value(value):
                offsets[term] += members
        else:
            bits = bits_of(members)
            for term in terms_of_value(value):
                shared[term] |= bits
    found = {
        term: pack_offsets(members) for term, members in paced(offsets.items(), 256) if term not in shared
    }
    found |= {term: pack(bits | bits_of(offsets.get(term, ()))) for term, bits in paced(shared.items())}
    if runs:
        found[BOUNDS] = pack_bounds(bounds_of(paced(runs, 512)))
        found[DURATIONS] = pack_durations(_durations(runs))
    return dict(sorted(found.items()))


def _durations(runs: Iterable[Facts]) -> dict[int, int]:
    return {run.seq % BLOCK: run.duration_ms for run in runs if run.duration_ms is not None}


async def _apply_changes(tables: SqlRunIndex) -> int:
    """Add the new terms of changed runs to their blocks. Old terms stay, except the status: a search checks the run.
    A deleted run loses its project term. A block without runs is deleted.
    """
    state = await _state(tables)
    changes = [_Change(*row) for row in await tables.read("index_changes", limits.index_changes_max)]
    blocks: dict[int, dict[int, bool]] = defaultdict(dict)
    for change in changes:
        if change.seq < state.mark:
            known = blocks[change.seq // BLOCK]
            known[change.seq] = known.get(change.seq, False) or bool(change.named)
    blocks = dict(list(blocks.items())[: limits.index_blocks_per_tick_max])
    statements: list[Statement] = []
    for block, seqs in blocks.items():
        statements += await _block_changes(tables, block, seqs)
    # Changes to blocks that are not indexed yet need no work: the block is read later.
    applied = [
        (change.id,) for change in changes if change.seq >= state.mark or change.seq // BLOCK in blocks
    ]
    if not applied or not await tables.write(state.version, [*statements, ("drop_changes", applied)]):
        return 0
    return len(applied)


async def _block_changes(tables: SqlRunIndex, block: int, seqs: Mapping[int, bool]) -> list[Statement]:
    runs = {one.seq: one for one in _facts(await tables.read("index_facts_of", list(seqs)))}
    wanted = {BOUNDS, DURATIONS, OPEN, *ENDED}
    # The error and the output of a run that ended give it terms, too.
    seqs = {seq: named or (seq in runs and runs[seq].searched is not None) for seq, named in seqs.items()}
    for seq, named in seqs.items():
        if named and seq in runs:
            wanted.update(terms_of(runs[seq]))
    stored = [*await tables.read("index_span", [block], *PROJECTS)]
    terms = sorted(wanted)
    for start in range(0, len(terms), limits.index_terms_read_max):
        part = terms[start : start + limits.index_terms_read_max]
        stored += await tables.read("index_terms", [block], part)
    before = {bytes(term): bytes(members) for _, term, members in stored}
    if not before:  # its last run was deleted
        return []
    after = _changed(before, runs, seqs)
    if not any(members for term, members in after.items() if PROJECTS[0] <= term < PROJECTS[1]):
        return [("drop_block", [(block,)])]
    return [("put_terms", [(block, term, new) for term, new in after.items() if new != before.get(term)])]


def _changed(
    stored: Mapping[bytes, bytes], runs: Mapping[int, Facts], seqs: Mapping[int, bool]
) -> dict[bytes, bytes]:
    bits = {term: unpack(of) for term, of in stored.items() if term not in (BOUNDS, DURATIONS)}
    projects = [term for term in bits if PROJECTS[0] <= term < PROJECTS[1]]
    for seq, named in seqs.items():
        place = 1 << seq % BLOCK
        run = runs.get(seq)
        if run is None:
            for term in projects:
                bits[term] &= ~place
            continue
        for term in (OPEN, *ENDED):
            bits[term] = bits.get(term, 0) & ~place
        for term in terms_of(run) if named else (status_term(run.status),):
            bits[term] = bits.get(term, 0) | place
    found = {term: pack(of) for term, of in bits.items()}
    was, now = unpack_bounds(stored[BOUNDS]), bounds_of(runs.values())
    found[BOUNDS] = pack_bounds(
        Bounds(min(was.first, now.first), max(was.last, now.last), max(was.longest, now.longest))
    )
    found[DURATIONS] = with_durations(stored[DURATIONS], _durations(runs.values()))
    return found


async def _find_faults(tables: SqlRunIndex, after: int) -> tuple[list[str], int | None]:
    """Check one block for `runstead db check`: (faults, where to continue or None)."""
    [(_, mark, *_)] = await tables.read("index_state")
    block = (after + 1) // BLOCK
    if block * BLOCK >= mark:
        return [], None
    first, end = block * BLOCK, (block + 1) * BLOCK
    reads = (("index_facts", (first, end)), ("index_block", (block,)), ("index_changed", ()))
    facts, rows, changed = await tables.read_snapshot(*reads)
    known = {seq for (seq,) in changed}
    stored = {bytes(term): bytes(runs) for term, runs in rows}
    runs = [run for run in _facts(facts) if run.seq not in known]
    return await asyncio.to_thread(lambda: list(_faults_of_block(stored, runs))), end - 1


def _faults_of_block(stored: Mapping[bytes, bytes], runs: Sequence[Facts]) -> Iterator[str]:
    bits = {term: unpack(of) for term, of in stored.items() if term not in (BOUNDS, DURATIONS)}
    bounds = unpack_bounds(stored[BOUNDS]) if BOUNDS in stored else bounds_of(())
    slices = unpack_slices(stored.get(DURATIONS, b""))
    for run in runs:
        offset = run.seq % BLOCK
        if any(not bits.get(term, 0) >> offset & 1 for term in terms_of(run)):
            yield f"The run {run.run_id} (number {run.seq}) misses a term in the search index"
        if not bounds.first <= run.created_at <= bounds.last:
            yield f"The run {run.run_id} (number {run.seq}) was created outside the bounds of its block in the search index"
        duration = run.duration_ms
        if duration is not None and (duration_at(slices, offset) != duration or duration > bounds.longest):
            yield f"The run {run.run_id} (number {run.seq}) has another duration in the search index"
