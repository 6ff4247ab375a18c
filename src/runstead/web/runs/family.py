"""A run's family as a tree: each run below its parent. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from runstead.core.runs.run import Run

runs_shown_max: Final = 1_000
children_shown_max: Final = 100


class Node(NamedTuple):
    """A run with those right below it; `hidden` of them are not shown."""

    run: Run
    below: list["Node"]
    hidden: int


def tree(family: Sequence[Run], here: Run) -> list[Node]:
    """The family's runs, oldest first, as trees: one, where the root is among them. Where there are very many not all are
    shown, but the one that is looked at is, with all above it.
    """
    must = {here.seq, *(int(seq) for seq in here.path.split("/") if seq)}
    known = {run.seq for run in family}
    below: dict[int | None, list[Run]] = defaultdict(list)
    for run in family:
        below[run.parent_seq if run.parent_seq in known else None].append(run)
    room = runs_shown_max

    def grow(parent: int | None) -> tuple[list[Node], int]:
        nonlocal room
        runs = below[parent]
        first = min(children_shown_max, max(room, 0))
        shown = runs[:first] + [run for run in runs[first:] if run.seq in must]
        room -= len(shown)
        return [Node(run, *grow(run.seq)) for run in shown], len(runs) - len(shown)

    return grow(None)[0]
