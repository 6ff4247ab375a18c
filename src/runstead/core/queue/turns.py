"""Turns: the keys of a target get their runs one after the other, so that a long backlog of one key delays no other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice

from runstead.core.queue.concurrency import ConcurrencySlots, Turn
from runstead.core.queue.round_robin import interleave
from runstead.core.runs.run import Run, in_queue


def cyclic(keys: Iterable[str], last: str) -> list[str]:
    """Return the keys in the order of their turns, if `last` was served last."""
    ordered = sorted(keys)
    return [key for key in ordered if key > last] + [key for key in ordered if key <= last]


def runs_per_key(limit: int, keys: int) -> int:
    """Return how many runs of each of the keys a claim of `limit` runs reads."""
    return -(-limit // max(keys, 1))


def in_turn(others: Iterable[Run], keyed: Iterable[Run], turns: Sequence[Turn]) -> Iterator[Run]:
    """Yield the runs of a claim in order: the runs of each target take turns by key, and the first of them stands
    beside runs without a key by priority and time.
    """
    places = {(turn.target, turn.key): place for place, turn in enumerate(turns)}
    queues: dict[str | None, dict[int, list[Run]]] = {}
    for run in sorted(keyed, key=in_queue):
        place = places[run.target or "", run.concurrency_key or ""]
        queues.setdefault(run.target, {}).setdefault(place, []).append(run)
    rounds = [
        interleave([of_target[place] for place in sorted(of_target)], lambda _: 0)
        for of_target in queues.values()
    ]
    return merge(sorted(others, key=in_queue), *rounds, key=in_queue)


def take_in_turn(
    found: Iterable[Run], turns: Sequence[Turn], slots: ConcurrencySlots, limit: int
) -> list[Run]:
    """Return the first `limit` runs in order that find a free slot. Runs of keys without a turn stand beside those
    without a key.
    """
    named = {(turn.target, turn.key) for turn in turns}
    others: list[Run] = []
    keyed: list[Run] = []
    for run in found:
        (keyed if (run.target, run.concurrency_key) in named else others).append(run)
    ordered = in_turn(others, keyed, turns)
    return list(islice((run for run in ordered if slots.take(run)), limit))


def served(turns: Sequence[Turn], found: Iterable[Run], claimed: Iterable[Run]) -> Mapping[str, str]:
    """Return target → the key that was served last, for the targets of the turns.

    If no run was found for the keys of a target, they have had their turn too.
    """
    last: dict[str, str] = {}
    with_runs = {run.target for run in found}
    for turn in turns:
        if turn.target not in with_runs:
            last[turn.target] = turn.key
    for run in claimed:
        if run.concurrency_key is not None:
            last[run.target or ""] = run.concurrency_key
    return last
