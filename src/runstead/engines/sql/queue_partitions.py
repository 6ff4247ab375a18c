"""What engines that keep the queue in indexes have in common: the lines that a worker takes from.

A line is a queue of which every run fits, so that its head is found at once, however long it is.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from runstead.core.queue.concurrency import ConcurrencySlots
from runstead.ports.store.runs import ClaimRequest

LineKind = Literal["kind", "target", "agent", "agent_target"]


class Line(NamedTuple):
    """`equal`: kind: (kind); target: (target, kind); agent: (implementation_kind, worker_key); agent_target: those two
    and the target. '' stands for no target, and for no worker_key. `most`: how many of its runs may be taken.
    """

    kind: LineKind
    equal: tuple[str, ...]
    most: int


def apart_by_target(query: ClaimRequest, slots: ConcurrencySlots) -> bool:
    """Whether every target that is queued needs a line of its own: one without room must not stand before the others."""
    return (
        not query.targets
        and slots.has_targets(query.project_id)
        and slots.of_project(query.project_id) != 0
        and bool(query.kinds)
    )


def lines(query: ClaimRequest, limit: int, slots: ConcurrencySlots, targets: Sequence[str]) -> Iterator[Line]:
    """The lines for a claim of `limit` runs; those that have no room are left out. `targets`: of the query, or what is
    queued, where that is needed.
    """
    project = query.project_id
    room = slots.of_project(project)
    most = limit if room is None else min(limit, room)
    if most == 0 or (not targets and apart_by_target(query, slots)):
        return
    left = [(target, slots.left(project, target or None)) for target in dict.fromkeys(targets)]
    there = [(target, most if room is None else min(most, room)) for target, room in left if room != 0]
    for kind in dict.fromkeys(query.kinds):
        if kind == "agent":
            named = query.implementation_kind
            for key in sorted({"", query.worker_key or ""}) if named is not None else ():
                assert named is not None
                if targets:
                    yield from (Line("agent_target", (named, key, target), least) for target, least in there)
                else:
                    yield Line("agent", (named, key), most)
        elif targets:
            yield from (Line("target", (target, kind), least) for target, least in there)
        else:
            yield Line("kind", (kind,), most)
