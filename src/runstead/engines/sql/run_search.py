"""Finds the runs of a filtered list by the run index, newest or longest first. It reads no large values.

The index holds the runs up to a mark, in blocks. Newer runs, and runs that changed since they were indexed, are read
from the table. So is every candidate from the index, which may return false positives but misses no run.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from runstead.core.usage.activity import RunSummary
from runstead.engines.sql.postings import (
    BLOCK,
    concatenated,
    concatenated_slices,
    descending,
    longest,
    shorter,
    split,
    unpack,
)
from runstead.engines.sql.run_terms import BOUNDS, DURATIONS, Wanted, needs_no_index, unpack_bounds, wanted
from runstead.ports.store.runs import RunQuery

Sets: TypeAlias = dict[int, int]
"""block → set of runs, as bits."""

#: Blocks searched at a time, newest first: the first few are often enough.
_blocks_first: Final = 4
_blocks_max: Final = 512
_blocks_longest: Final = 64  # the first ones, with the longest runs
#: Up to so many candidates are read and sorted without the durations of the index.
_sort_all_max: Final = 256
_read_max: Final = 4_096  # runs that one statement reads


class Page(NamedTuple):
    """Requests the runs of a query, of those in `seqs` if given."""

    query: RunQuery
    seqs: Sequence[int] | None = None


class State(NamedTuple):
    """Requests the extent of the index: one row (mark, first block or None)."""


class Changed(NamedTuple):
    """Requests the runs before the mark whose index entries are outdated: rows (seq,)."""


class Terms(NamedTuple):
    """Requests stored terms of some blocks: rows (block, term, runs)."""

    blocks: Sequence[int]
    terms: Sequence[bytes]


class Span(NamedTuple):
    """Requests the stored terms in [first, end) of some blocks: rows (block, term, runs)."""

    blocks: Sequence[int]
    first: bytes
    end: bytes


#: The statements of requests; the members of a request are the arguments. The statement of `Page` is generated.
STATEMENTS: Final[Mapping[type, str]] = {
    State: "index_mark",
    Changed: "index_changed",
    Terms: "index_terms",
    Span: "index_span",
}
Request: TypeAlias = Page | State | Changed | Terms | Span
Search: TypeAlias = Generator[Request, Sequence[Any], list[RunSummary]]
"""Yields requests to the engine and receives their rows. A later request may see later commits."""
_Sets: TypeAlias = Generator[Request, Sequence[Any], Sets]


def search(query: RunQuery) -> Search:
    if needs_no_index(query):
        return list((yield Page(query)))
    # Read the mark before the changes, and both before the blocks: a change is removed only after it is in its block.
    [(mark, first)] = yield State()
    changed = [seq for (seq,) in (yield Changed()) if seq < mark]
    if not mark:
        return list((yield Page(query)))
    found = {}
    for run in (yield Page(replace(query, seq_over=max(query.seq_over or 0, mark - 1)))):
        found[run.seq] = run
    if query.sort == "created_at" and len(found) >= query.limit:
        return list(found.values())
    for start in range(0, len(changed), _read_max):
        for run in (yield Page(query, changed[start : start + _read_max])):
            found[run.seq] = run
    if first is not None:
        newest = mark - 1 if query.seq_under is None else min(mark, query.seq_under) - 1
        if query.sort == "created_at" and query.before is not None:
            newest = min(newest, query.before[1] - 1)
        oldest = max(first, 0 if query.seq_over is None else query.seq_over // BLOCK)
        blocks = yield from _created_in_range(query, list(range(newest // BLOCK, oldest - 1, -1)))
        limit = query.limit - sum(seq >= mark for seq in found)
        if query.sort == "created_at":
            older = yield from _newest(query, blocks, newest, limit)
        else:
            older = yield from _longest(query, blocks, query.limit)
        found |= {run.seq: run for run in older}
    return sorted(found.values(), key=_sort_key(query), reverse=True)[: query.limit]


def _sort_key(query: RunQuery) -> Any:
    if query.sort == "duration":
        return lambda run: (run.duration_ms, run.seq)
    return lambda run: run.seq


def _created_in_range(query: RunQuery, blocks: list[int]) -> Generator[Request, Sequence[Any], list[int]]:
    """The blocks that may hold runs created in the time range of the query."""
    after, before = query.created_after, query.created_before
    if after is None and before is None:
        return blocks
    kept = []
    for block, _, stored in (yield Terms(blocks, [BOUNDS])):
        bounds = unpack_bounds(stored)
        if (after is None or bounds.last > after) and (before is None or bounds.first < before):
            kept.append(block)
    return sorted(kept, reverse=True)


def _newest(query: RunQuery, blocks: Sequence[int], newest: int, limit: int) -> Search:
    """The newest `limit` runs with a seq of at most `newest`."""
    terms = wanted(query)
    found: list[RunSummary] = []
    count, start, read = _blocks_first, 0, 8
    while start < len(blocks) and len(found) < limit:
        chunk = blocks[start : start + count]
        start, count = start + count, min(count * 4, _blocks_max)
        sets = yield from _candidates(terms, chunk)
        seqs = (seq for block in chunk for seq in _seqs(block, sets.get(block, 0)) if seq <= newest)
        while len(found) < limit:
            # A few more than needed, since some may not match; the number grows with each read.
            read_now = min(_read_max, (limit - len(found)) * 5 // 4 + read)
            piece = list(islice(seqs, read_now))
            if not piece:
                break
            found += yield Page(query, piece)
            read += read_now
    return found[:limit]


def _seqs(block: int, bits: int) -> Iterator[int]:
    return (block * BLOCK + offset for offset in descending(bits))


def _longest(query: RunQuery, blocks: Sequence[int], limit: int) -> Search:
    """The longest `limit` runs. Blocks are read in the order of their longest run, until no other block can hold a
    longer run than those found.
    """
    rows = yield Terms(blocks, [BOUNDS])
    longest_of = {block: unpack_bounds(stored).longest for block, _, stored in rows}
    order = sorted(
        (block for block in longest_of if longest_of[block] >= 0), key=longest_of.__getitem__, reverse=True
    )
    terms = wanted(query)
    found: list[RunSummary] = []
    start, count = 0, _blocks_longest
    while start < len(order):
        least = (found[-1].duration_ms or 0) if len(found) == limit else 0
        chunk = [block for block in order[start : start + count] if longest_of[block] >= least]
        if not chunk:
            break
        start, count = start + count, _blocks_max
        sets = yield from _candidates(terms, chunk)
        found += yield from _longest_of(query, sets, limit)
        found = sorted(found, key=_sort_key(query), reverse=True)[:limit]
    return found


def _longest_of(query: RunQuery, sets: Sets, limit: int) -> Search:
    if sum(bits.bit_count() for bits in sets.values()) <= _sort_all_max:
        seqs = [seq for block, bits in sets.items() for seq in _seqs(block, bits)]
        return list((yield Page(query, seqs))) if seqs else []
    order = sorted(sets)
    stored = {block: durations for block, _, durations in (yield Terms(order, [DURATIONS]))}
    # The blocks are concatenated here without the gaps between them.
    slices = concatenated_slices([stored.get(block, b"") for block in order])
    remaining = concatenated([sets[block] for block in order])
    if query.before is not None:
        duration, seq = query.before
        block = seq // BLOCK
        position = sum(one < block for one in order) * BLOCK + (seq % BLOCK if block in sets else 0)
        remaining = shorter(slices, remaining, duration or 0, position)
    found: list[RunSummary] = []
    count = limit + 8
    while remaining and len(found) < limit:
        chosen = longest(slices, remaining, count)
        remaining ^= chosen
        seqs = [
            seq
            for block, bits in zip(order, split(chosen, len(order)), strict=True)
            for seq in _seqs(block, bits)
        ]
        found += yield Page(query, seqs)
        count = min(count * 2, _read_max)
    return found


def _candidates(terms: Wanted, blocks: Sequence[int]) -> _Sets:
    """The candidates in each of the blocks that has any."""
    sets = yield from _intersect_groups(terms.groups, dict.fromkeys(blocks, (1 << BLOCK) - 1))
    for first, end in terms.spans:
        union: Sets = {}
        for block, _, stored in (yield Span(list(sets), first, end)) if sets else ():
            union[block] = union.get(block, 0) | unpack(stored)
        sets = _intersect(sets, union)
    return (yield from _intersect_groups(terms.later, sets)) if sets and terms.later else sets


def _intersect_groups(groups: Sequence[Sequence[bytes]], sets: Sets) -> _Sets:
    members = [term for group in groups for term in group]
    stored: dict[int, dict[bytes, bytes]] = {block: {} for block in sets}
    for block, term, runs in (yield Terms(list(sets), members)) if members else ():
        stored[block][bytes(term)] = runs
    return _intersect(sets, {block: _matching(groups, stored[block]) for block in sets})


def _matching(groups: Sequence[Sequence[bytes]], stored: dict[bytes, bytes]) -> int:
    bits = -1
    if all(any(term in stored for term in group) for group in groups):
        for group in groups:
            one = 0
            for term in group:
                if term in stored:
                    one |= unpack(stored[term])
            bits &= one
            if not bits:
                break
        return bits
    return 0


def _intersect(one: Sets, other: Sets) -> Sets:
    return {block: both for block, bits in one.items() if (both := bits & other.get(block, 0))}
