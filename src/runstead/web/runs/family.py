"""Builds the tree of a run's family. Pure."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from runstead.core.runs.run import Run

runs_shown_max: Final = 1_000
children_shown_max: Final = 100


class Node(NamedTuple):
    """A run with its children; `hidden` is the number of children that are not shown."""

    run: Run
    children: list["Node"]
    hidden: int


def tree(family: Sequence[Run], here: Run) -> list[Node]:
    """The trees of these runs, which are oldest first: one tree if the root is among them.

    A large family is not shown whole, but the run `here` and its ancestors always are.
    """
    required = {here.seq, *here.ancestor_seqs}
    known = {run.seq for run in family}
    children: dict[int | None, list[Run]] = defaultdict(list)
    for run in family:
        children[run.parent_seq if run.parent_seq in known else None].append(run)
    left = runs_shown_max

    def grow(parent: int | None) -> tuple[list[Node], int]:
        nonlocal left
        runs = children[parent]
        first = min(children_shown_max, max(left, 0))
        shown = runs[:first] + [run for run in runs[first:] if run.seq in required]
        left -= len(shown)
        return [Node(run, *grow(run.seq)) for run in shown], len(runs) - len(shown)

    return grow(None)[0]
