"""The index by which runs are found, and how it is kept: by a loop, behind the writes.

A block of runs is indexed once a younger run is there, whole and in one go, so the commands that write runs pay nothing for
it. What changes in a run of a block that is indexed, or about to be, is noted by the tables' triggers, and worked in
later. Until then a search reads such runs themselves.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

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
    grams,
    pack_bounds,
    status_term,
    terms_of,
    terms_of_value,
    unpack_bounds,
    values_of,
)

Row: TypeAlias = Sequence[Any]
Statement: TypeAlias = tuple[str, Sequence[Row]]
"""A named statement, and what it is executed with: once for each row."""


class Tables(Protocol):
    """What `advance` and `faults` need of an engine. Statements are named as in its run_index.sql."""

    async def read(self, name: str, *arguments: Any) -> Sequence[Row]: ...

    async def write(self, version: int, statements: Sequence[Statement]) -> bool:
        """All of them in one transaction, where the index is still at this version, which grows by one; else none: another
        replica keeps the index.
        """
        ...

    async def settled(self) -> bool:
        """Wait for every transaction that may have drawn a seq or changed a run before the call, so that what they
        did can be read; False where one takes too long.
        """
        ...

    async def at_once(self, *asked: tuple[str, Sequence[Any]]) -> Sequence[Sequence[Row]]:
        """What several statements read, all from one moment."""
        ...


class _State(NamedTuple):
    """Runs with a seq below `mark` are indexed; changes of those below `noted` are noted."""

    version: int
    mark: int
    noted: int
    newest: int
    oldest: int  # of those from the mark on


class _Change(NamedTuple):
    id: int
    seq: int
    named: bool  # more than its state may have changed


async def advance(tables: Tables) -> int:
    return await _work_in(tables) + await _index_next(tables)


async def _state(tables: Tables) -> _State:
    [row] = await tables.read("index_state")
    return _State(*row)


async def _index_next(tables: Tables) -> int:
    state = await _state(tables)
    version, block = state.version, state.mark // BLOCK
    if state.noted <= state.mark:
        end = min(state.newest // BLOCK, block + limits.index_blocks_noted_max) * BLOCK
        if end <= state.mark or not await tables.write(version, [("note_changes", [(end,)])]):
            return 0
        state, version = state._replace(noted=end), version + 1
    if not await tables.settled():
        return 0
    block = min(max(state.oldest, state.mark), state.noted - 1) // BLOCK
    facts: list[Facts] = []
    for first in range(block * BLOCK, (block + 1) * BLOCK, limits.index_facts_max):
        facts += _facts(await tables.read("index_facts", first, first + limits.index_facts_max))
    terms = await asyncio.to_thread(_built, facts)
    rows = [(block, term, runs) for term, runs in terms.items()]
    step = limits.index_rows_max
    pieces = [rows[start : start + step] for start in range(0, len(rows), step)]
    # Nothing looks at a block before the mark has passed it.
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


def _built(runs: Sequence[Facts]) -> dict[bytes, bytes]:
    """The terms of a block, in their order, in small pieces: others wait for the interpreter."""
    of_value: dict[Value, list[int]] = defaultdict(list)
    offsets: dict[bytes, list[int]] = defaultdict(list)
    for run in paced(runs):
        offset = run.seq % BLOCK
        for value in values_of(run):
            of_value[value].append(offset)
        for gram in set(grams(run.run_id)):
            offsets[gram].append(offset)
    shared: dict[bytes, int] = defaultdict(int)
    for value, members in paced(of_value.items()):
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


async def _work_in(tables: Tables) -> int:
    """Changes of runs: what is new is put into their blocks. What a run has no more stays, but for its state: whoever
    finds it looks at the run. A run that is gone leaves its project, and the last one of a block takes the block along.
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
    # A block that is not indexed yet is read later: by then it has its changes.
    over = [(change.id,) for change in changes if change.seq >= state.mark or change.seq // BLOCK in blocks]
    if not over or not await tables.write(state.version, [*statements, ("drop_changes", over)]):
        return 0
    return len(over)


async def _block_changes(tables: Tables, block: int, seqs: Mapping[int, bool]) -> list[Statement]:
    runs = {one.seq: one for one in _facts(await tables.read("index_facts_of", list(seqs)))}
    wanted = {BOUNDS, DURATIONS, OPEN, *ENDED}
    for seq, named in seqs.items():
        if named and seq in runs:
            wanted.update(terms_of(runs[seq]))
    stored = [
        *await tables.read("index_terms", [block], list(wanted)),
        *await tables.read("index_span", [block], *PROJECTS),
    ]
    before = {bytes(term): bytes(members) for _, term, members in stored}
    if not before:  # its last run is gone
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


async def faults(tables: Tables, after: int) -> tuple[list[str], int | None]:
    """For `runstead db check`: whether a search would find what it must."""
    [(_, mark, *_)] = await tables.read("index_state")
    block = (after + 1) // BLOCK
    if block * BLOCK >= mark:
        return [], None
    first, end = block * BLOCK, (block + 1) * BLOCK
    asked = (("index_facts", (first, end)), ("index_block", (block,)), ("index_changed", ()))
    facts, rows, changed = await tables.at_once(*asked)
    known = {seq for (seq,) in changed}
    stored = {bytes(term): bytes(runs) for term, runs in rows}
    runs = [run for run in _facts(facts) if run.seq not in known]
    return await asyncio.to_thread(lambda: list(_missing(stored, runs))), end - 1


def _missing(stored: Mapping[bytes, bytes], runs: Sequence[Facts]) -> Iterator[str]:
    bits = {term: unpack(of) for term, of in stored.items() if term not in (BOUNDS, DURATIONS)}
    bounds = unpack_bounds(stored[BOUNDS]) if BOUNDS in stored else bounds_of(())
    slices = unpack_slices(stored.get(DURATIONS, b""))
    for run in runs:
        offset = run.seq % BLOCK
        if any(not bits.get(term, 0) >> offset & 1 for term in terms_of(run)):
            yield f"The run {run.run_id} (number {run.seq}) is missing in the index of runs where a list looks for it"
        if not bounds.first <= run.created_at <= bounds.last:
            yield f"The run {run.run_id} (number {run.seq}) was created at a time that the index of runs does not say"
        duration = run.duration_ms
        if duration is not None and (duration_at(slices, offset) != duration or duration > bounds.longest):
            yield f"The run {run.run_id} (number {run.seq}) took another time than the index of runs says"
