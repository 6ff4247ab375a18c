"""Partitions of the queue: the parts of it that one claim reads, for engines that keep the queue in indexes.

Every run in a partition matches the claim, so that an index finds its first run at once, however long the
queue is.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from runstead.core.queue.concurrency import ConcurrencySlots
from runstead.ports.store.runs import ClaimRequest

PartitionKind = Literal["kind", "target", "agent", "agent_target", "key"]


class QueuePartition(NamedTuple):
    """One partition. `equal` holds the values of its index columns: kind: (kind); target: (target, kind);
    agent: (implementation_kind, worker_key); agent_target: those two and the target; key:
    (target, concurrency_key). '' stands for no target and for no worker_key. The runs of `key` are in no other partition.
    `most` is how many of its runs the claim may take. `pinned`: of the runs that are pinned to a
    version, which is the first value of `equal`.
    """

    kind: PartitionKind
    equal: tuple[str, ...]
    most: int
    pinned: bool = False


def needs_target_partitions(query: ClaimRequest, slots: ConcurrencySlots) -> bool:
    """Whether every queued target needs its own partition, so that a target without free slots blocks no other."""
    return (
        not query.targets
        and slots.has_target_limits(query.project_id)
        and slots.project_remaining(query.project_id) != 0
        and bool(query.kinds)
    )


def partitions(
    query: ClaimRequest, limit: int, slots: ConcurrencySlots, targets: Sequence[str]
) -> Iterator[QueuePartition]:
    """Yield the partitions for a claim of `limit` runs, without those that have no free slot. A claim with a version
    also has those of the runs that are pinned to it.

    `targets` are those of the claim, or all queued targets where `needs_target_partitions` is true.
    """
    yield from _partitions(query, limit, slots, targets, slots.remaining_without_key)
    if query.version is not None:  # these may have concurrency keys
        for found in _partitions(query, limit, slots, targets, slots.remaining):
            yield QueuePartition(found.kind, (query.version, *found.equal), found.most, pinned=True)


@lru_cache(1_024)  # a worker sends the same claim again and again
def unlimited_partitions(query: ClaimRequest) -> tuple[QueuePartition, ...]:
    """Return the partitions of a claim in a project without limits."""
    return tuple(partitions(query, query.limit, ConcurrencySlots(), query.targets))


def _partitions(
    query: ClaimRequest,
    limit: int,
    slots: ConcurrencySlots,
    targets: Sequence[str],
    free_of: Callable[[str, str | None], int | None],
) -> Iterator[QueuePartition]:
    project = query.project_id
    project_slots = slots.project_remaining(project)
    most = limit if project_slots is None else min(limit, project_slots)
    if most == 0 or (not targets and needs_target_partitions(query, slots)):
        return
    remaining = [(target, free_of(project, target or None)) for target in dict.fromkeys(targets)]
    open_targets = [(target, most if n is None else min(most, n)) for target, n in remaining if n != 0]
    for kind in dict.fromkeys(query.kinds):
        if kind == "agent":
            implementation = query.implementation_kind
            for key in sorted({"", query.worker_key or ""}) if implementation is not None else ():
                assert implementation is not None
                if targets:
                    yield from (
                        QueuePartition("agent_target", (implementation, key, target), target_most)
                        for target, target_most in open_targets
                    )
                else:
                    yield QueuePartition("agent", (implementation, key), most)
        elif targets:
            yield from (
                QueuePartition("target", (target, kind), target_most) for target, target_most in open_targets
            )
        else:
            yield QueuePartition("kind", (kind,), most)
