"""Checks whether the history of a run is linearizable: whether its operations have an order, each at one
instant between request and answer, in which a sequential run would have given the same answers.

It is the search of Wing and Gong with the improvement of Lowe: a set of linearized operations with the same
state is never tried twice. Runs are independent, so each is checked separately. An operation without an
answer may take effect at any time after its request, or never.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from . import model
from .history import Operation

#: A search that needs more nodes is aborted with UndecidedError.
NODES_MAX = 2_000_000

Steps = Callable[[Any, Operation], Iterable[Any]]


class UndecidedError(Exception):
    """The search was aborted, so the history is neither confirmed nor refuted."""


def linearizable(
    operations: list[Operation],
    initial: Hashable = model.ABSENT,
    steps: Steps = model.steps,
    effectless: Callable[[Operation], bool] = model.effectless,
) -> bool:
    """Whether the history is linearizable. UndecidedError after NODES_MAX steps."""
    order = sorted(operations, key=lambda each: (each.completed, each.invoked))
    wanted = sum(1 << place for place, each in enumerate(order) if each.known)
    pure = [each.known and effectless(each) for each in order]
    seen: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable]] = [(0, initial)]
    nodes = 0
    while stack:
        done, state = stack.pop()
        if done & wanted == wanted:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        nodes += 1
        if nodes > NODES_MAX:
            raise UndecidedError(f"{len(order)} operations of {order[0].run_id}")
        stack += _next(order, pure, done, state, steps)
    return False


def _next(
    order: list[Operation], pure: list[bool], done: int, state: Hashable, steps: Steps
) -> list[tuple[int, Hashable]]:
    """Return the possible next operations, the most promising last: those invoked before the first missing answer."""
    found: list[tuple[int, Hashable]] = []
    deadline: float | None = None
    for place, each in enumerate(order):
        if done >> place & 1:
            continue
        if deadline is None:
            deadline = (
                each.completed
            )  # `order` is sorted by answers, so the first open operation is the earliest
        if each.invoked > deadline:
            continue
        for after in steps(state, each):
            if pure[place] and after == state:
                # It matches here and changes nothing, so a later position cannot be better.
                return [(done | 1 << place, after)]
            found.append((done | 1 << place, after))
    found.reverse()
    return found


def minimal(operations: list[Operation]) -> list[Operation]:
    """Return the part of a history that shows why it is not linearizable. It ends with the impossible answer,
    without reads and refusals that are not needed.
    """
    answers = sorted({each.completed for each in operations if each.known})
    low, high = 0, len(answers) - 1
    while low < high:
        middle = (low + high) // 2
        if linearizable(_until(operations, answers[middle])):
            low = middle + 1
        else:
            high = middle
    left = _until(operations, answers[low])
    for each in sorted(left, key=lambda one: one.invoked):
        if each.known and model.effectless(each):
            without = [one for one in left if one is not each]
            if not linearizable(without):
                left = without
    return left


def _until(operations: list[Operation], moment: float) -> list[Operation]:
    """Return the operations that were invoked up to `moment`; later answers are removed."""
    return [
        each if each.completed <= moment else each.without_answer()
        for each in operations
        if each.invoked <= moment
    ]
