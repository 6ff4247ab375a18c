"""Is there an order of a run's operations, each at one instant between request and answer, in which one client at a time
would have got the same answers?

Wing and Gong's search as Lowe made it bearable: what was linearized, together with the state it led to, is never tried
twice. Runs are objects of their own, so each is checked alone. An operation whose outcome nobody knows may take effect at
any time after its request, or never.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from . import model
from .history import Operation

#: A run's search that takes more is given up, and told as that.
NODES_MAX = 2_000_000

Steps = Callable[[Any, Operation], Iterable[Any]]


class UndecidedError(Exception):
    """The search was given up: this history says nothing."""


def linearizable(
    operations: list[Operation],
    initial: Hashable = model.ABSENT,
    steps: Steps = model.steps,
    effectless: Callable[[Operation], bool] = model.effectless,
) -> bool:
    """Whether such an order is there. UndecidedError after NODES_MAX steps."""
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
    """What may come next, the most promising last: whatever was asked before the first missing answer came."""
    found: list[tuple[int, Hashable]] = []
    deadline: float | None = None
    for place, each in enumerate(order):
        if done >> place & 1:
            continue
        if deadline is None:
            deadline = each.completed  # in the order of answers, the first one left is the earliest
        if each.invoked > deadline:
            continue
        for after in steps(state, each):
            if pure[place] and after == state:
                # It fits here and changes nothing: no order that has it later can be better.
                return [(done | 1 << place, after)]
            found.append((done | 1 << place, after))
    found.reverse()
    return found


def minimal(operations: list[Operation]) -> list[Operation]:
    """Of a history that is not linearizable, the part that shows it: it ends with the answer that cannot be, and every
    read and refusal that is not needed is left out.
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
    """What was asked by then; what was not answered by then is in doubt."""
    return [
        each if each.completed <= moment else each.doubted() for each in operations if each.invoked <= moment
    ]
