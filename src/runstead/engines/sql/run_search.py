"""Finds the runs of a list by the run index, whatever it is filtered by, newest or longest first.

The index holds the runs up to a mark, in blocks. Younger runs, and those that have changed since they were indexed, are
looked at one by one, and so is everything that the index finds: it may name a run too many, never one too few.
"""

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from runstead.core.runs.run import Run
from runstead.core.usage.activity import RunSummary
from runstead.engines.sql.postings import (
    BLOCK,
    descending,
    joined,
    joined_slices,
    longest,
    parted,
    shorter,
    unpack,
)
from runstead.engines.sql.run_terms import BOUNDS, DURATIONS, Wanted, by_rows_alone, unpack_bounds, wanted
from runstead.ports.store.runs import RunQuery

Found: TypeAlias = Run | RunSummary
Sets: TypeAlias = dict[int, int]
"""block → the runs of it."""

#: Blocks that are looked at in one go, newest first: few where the newest have enough.
_blocks_first: Final = 4
_blocks_max: Final = 512
_blocks_longest: Final = 64  # those with the longest runs, at first
#: So many found are read and put in order without a look at the durations in the index.
_few: Final = 256
_read_max: Final = 4_096  # found runs that one statement reads


class Page(NamedTuple):
    """Asks for the list of a query; with `seqs`, of what these runs have of it. Answered with runs."""

    query: RunQuery
    seqs: Sequence[int] | None = None


class State(NamedTuple):
    """Asks how far the index goes. Answered with one row: mark, first block (None where there is none)."""


class Changed(NamedTuple):
    """Asks for the runs below the mark that are not in the index as they are now: rows of one seq."""


class Terms(NamedTuple):
    """Asks for stored terms of some blocks: rows (block, term, runs)."""

    blocks: Sequence[int]
    terms: Sequence[bytes]


class Span(NamedTuple):
    """Asks for all stored terms of some blocks that lie in [first, end): rows (block, term, runs)."""

    blocks: Sequence[int]
    first: bytes
    end: bytes


Ask: TypeAlias = Page | State | Changed | Terms | Span
Search: TypeAlias = Generator[Ask, Sequence[Any], list[Found]]
"""Yields what it asks the engine, in this order, and is sent the answers. What is asked later may see later commits."""
_Sets: TypeAlias = Generator[Ask, Sequence[Any], Sets]


def search(query: RunQuery) -> Search:
    if by_rows_alone(query):
        return list((yield Page(query)))
    # The mark before the changes, and both before the blocks: what leaves the changes stands in the blocks by then.
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
        blocks = yield from _in_time(query, list(range(newest // BLOCK, oldest - 1, -1)))
        room = query.limit - sum(seq >= mark for seq in found)
        if query.sort == "created_at":
            older = yield from _newest(query, blocks, newest, room)
        else:
            older = yield from _longest(query, blocks, query.limit)
        found |= {run.seq: run for run in older}
    return sorted(found.values(), key=_place(query), reverse=True)[: query.limit]


def _place(query: RunQuery) -> Any:
    if query.sort == "duration":
        return lambda run: (run.duration_ms, run.seq)
    return lambda run: run.seq


def _in_time(query: RunQuery, blocks: list[int]) -> Generator[Ask, Sequence[Any], list[int]]:
    """Those in which a run may have been created in the time that the query names."""
    after, before = query.created_after, query.created_before
    if after is None and before is None:
        return blocks
    kept = []
    for block, _, stored in (yield Terms(blocks, [BOUNDS])):
        bounds = unpack_bounds(stored)
        if (after is None or bounds.last > after) and (before is None or bounds.first < before):
            kept.append(block)
    return sorted(kept, reverse=True)


def _newest(
    query: RunQuery, blocks: Sequence[int], newest: int, room: int
) -> Generator[Ask, Sequence[Any], list[Found]]:
    """The newest `room` runs up to a seq."""
    terms = wanted(query)
    found: list[Found] = []
    count, start, read = _blocks_first, 0, 8
    while start < len(blocks) and len(found) < room:
        some = blocks[start : start + count]
        start, count = start + count, min(count * 4, _blocks_max)
        sets = yield from _candidates(terms, some)
        seqs = (seq for block in some for seq in _seqs(block, sets.get(block, 0)) if seq <= newest)
        while len(found) < room:
            # A few more than there is room for, since some may not belong; the more, the more did not.
            most = min(_read_max, (room - len(found)) * 5 // 4 + read)
            piece = list(islice(seqs, most))
            if not piece:
                break
            found += yield Page(query, piece)
            read += most
    return found[:room]


def _seqs(block: int, bits: int) -> Iterator[int]:
    return (block * BLOCK + offset for offset in descending(bits))


def _longest(query: RunQuery, blocks: Sequence[int], room: int) -> Generator[Ask, Sequence[Any], list[Found]]:
    """The longest `room` runs. Blocks come in the order of their longest run, until no other can have a longer one than
    those that were found.
    """
    rows = yield Terms(blocks, [BOUNDS])
    most = {block: unpack_bounds(stored).longest for block, _, stored in rows}
    order = sorted((block for block in most if most[block] >= 0), key=most.__getitem__, reverse=True)
    terms = wanted(query)
    found: list[Found] = []
    start, count = 0, _blocks_longest
    while start < len(order):
        least = (found[-1].duration_ms or 0) if len(found) == room else 0
        some = [block for block in order[start : start + count] if most[block] >= least]
        if not some:
            break
        start, count = start + count, _blocks_max
        sets = yield from _candidates(terms, some)
        found += yield from _longest_of(query, sets, room)
        found = sorted(found, key=_place(query), reverse=True)[:room]
    return found


def _longest_of(query: RunQuery, sets: Sets, room: int) -> Generator[Ask, Sequence[Any], list[Found]]:
    if sum(bits.bit_count() for bits in sets.values()) <= _few:
        seqs = [seq for block, bits in sets.items() for seq in _seqs(block, bits)]
        return list((yield Page(query, seqs))) if seqs else []
    order = sorted(sets)
    stored = {block: durations for block, _, durations in (yield Terms(order, [DURATIONS]))}
    # Blocks stand side by side here, whatever lies between them.
    slices = joined_slices([stored.get(block, b"") for block in order])
    left = joined([sets[block] for block in order])
    if query.before is not None:
        duration, seq = query.before
        block = seq // BLOCK
        place = sum(one < block for one in order) * BLOCK + (seq % BLOCK if block in sets else 0)
        left = shorter(slices, left, duration or 0, place)
    found: list[Found] = []
    count = room + 8
    while left and len(found) < room:
        chosen = longest(slices, left, count)
        left ^= chosen
        seqs = [
            seq
            for block, bits in zip(order, parted(chosen, len(order)), strict=True)
            for seq in _seqs(block, bits)
        ]
        found += yield Page(query, seqs)
        count = min(count * 2, _read_max)
    return found


def _candidates(terms: Wanted, blocks: Sequence[int]) -> _Sets:
    """What may belong on the list, of each of the blocks; nothing where nothing does."""
    sets = yield from _all_of(terms.groups, dict.fromkeys(blocks, (1 << BLOCK) - 1))
    for first, end in terms.spans:
        joined_up: Sets = {}
        for block, _, stored in (yield Span(list(sets), first, end)) if sets else ():
            joined_up[block] = joined_up.get(block, 0) | unpack(stored)
        sets = _both(sets, joined_up)
    return (yield from _all_of(terms.later, sets)) if sets and terms.later else sets


def _all_of(groups: Sequence[Sequence[bytes]], sets: Sets) -> _Sets:
    asked = [term for group in groups for term in group]
    stored: dict[int, dict[bytes, bytes]] = {block: {} for block in sets}
    for block, term, runs in (yield Terms(list(sets), asked)) if asked else ():
        stored[block][bytes(term)] = runs
    return _both(sets, {block: _joined(groups, stored[block]) for block in sets})


def _joined(groups: Sequence[Sequence[bytes]], stored: dict[bytes, bytes]) -> int:
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


def _both(one: Sets, other: Sets) -> Sets:
    return {block: both for block, bits in one.items() if (both := bits & other.get(block, 0))}
