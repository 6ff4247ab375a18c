"""The turns of concurrency keys, in the transaction of a claim that no other claim of the project runs beside."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runstead.core import limits
from runstead.core.queue.concurrency import ConcurrencySlots, Turn
from runstead.core.queue.turns import runs_per_key, served, take_in_turn
from runstead.core.runs.run import Run
from runstead.engines.sql.queue_partitions import QueuePartition
from runstead.engines.sql.rates import tokens_of_keys
from runstead.engines.sql.steps import Steps, execute, select, value
from runstead.ports.store.runs import ClaimRequest


class _KeyedTarget(NamedTuple):
    target: str
    last_key: str


class Turns(NamedTuple):
    """Whose turn it is, and the queue partitions of these keys."""

    turns: list[Turn]
    partitions: list[QueuePartition]


def has_keyed_targets(project_id: str) -> Steps[bool]:
    """Whether the project ever had a run with a concurrency key."""
    return bool((yield from select("keyed_targets", _KeyedTarget, project_id=project_id)))


def find_turns(query: ClaimRequest, limit: int, slots: ConcurrencySlots, now: int) -> Steps[Turns]:
    """The keys that are served next by a claim of `limit` runs, target by target. `now` in ms."""
    project = query.project_id
    found: list[Turn] = []
    partitions: list[QueuePartition] = []
    for target, last in (yield from select("keyed_targets", _KeyedTarget, project_id=project)):
        if query.targets and target not in query.targets:
            continue
        kind = target.partition(":")[0]
        free = slots.remaining(project, target)
        most = limit if free is None else min(free, limit)
        if kind not in query.kinds or most == 0:
            continue
        per_key, rated = slots.per_key(project, target), slots.rate_per_key(project, target)
        turns = yield from _turns(project, target, last, per_key, most, now, rated=rated)
        tokens = yield from tokens_of_keys(slots, project, target, (turn.key for turn in turns), now)
        share = runs_per_key(most, len(turns))
        found += turns
        for turn in turns:
            left = slots.note_running(project, turn, tokens.get(turn.key))
            if left is None or left > 0:
                one = share if left is None else min(share, left)
                partitions.append(QueuePartition("key", (target, turn.key), one))
    return Turns(found, partitions)


def _turns(
    project_id: str, target: str, last: str, per_key: int | None, most: int, now: int, *, rated: bool
) -> Steps[list[Turn]]:
    given = {
        "project_id": project_id,
        "target": target,
        "per_key": per_key,
        "rated": rated,
        "visited": limits.keys_visited_max,
        "now": now,
    }
    turns = yield from select("turns", Turn, after=last, until=None, most=most, **given)
    if last and len(turns) < most:
        turns += yield from select("turns", Turn, after="", until=last, most=most - len(turns), **given)
    return turns


def take_next(
    project_id: str,
    found: Iterable[Run],
    turns: Sequence[Turn],
    slots: ConcurrencySlots,
    limit: int,
    now: int,
) -> Steps[list[Run]]:
    """The runs among those found that a claim takes, in order. Store the keys that were served last. `now` in ms."""
    runs = list(found)
    named = {(turn.target, turn.key) for turn in turns}
    # Runs that are pinned to a version are found beside the turns.
    beside = {
        (run.target or "", run.concurrency_key) for run in runs if run.concurrency_key is not None
    } - named
    for target, key in sorted(beside):
        most, running = slots.per_key(project_id, target), 0
        if most is not None:
            running = yield from value(
                "running_of_key", project_id=project_id, target=target, key=key, most=most
            )
        tokens = yield from tokens_of_keys(slots, project_id, target, [key], now)
        slots.note_running(project_id, Turn(target, key, running), tokens.get(key))
    taken = take_in_turn(runs, turns, slots, limit)
    for target, key in served(turns, runs, taken).items():
        yield from execute("set_last_key", project_id=project_id, target=target, last_key=key)
    return taken
