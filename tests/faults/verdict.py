"""The verdict on a history: its figures and its violations."""

from collections import Counter

import msgspec

from .checker import UndecidedError, linearizable, minimal
from .history import Operation, by_run, render
from .load import Load


class Verdict(msgspec.Struct):
    """The result of a check.

    `violations`: runs without a valid order, each with the part of its history that shows it.
    """

    operations: int
    runs: int
    unknown: int
    kinds: dict[str, int]
    violations: dict[str, str]
    undecided: list[str]
    unexpected: list[str]

    @property
    def clean(self) -> bool:
        return not (self.violations or self.undecided or self.unexpected)


def judge(load: Load) -> Verdict:
    """Check the history of a finished load.

    An operation counts once, even if it may have affected several runs.
    """
    history = load.history
    verdict = Verdict(len(load.operations) + load.claims_in_doubt, 0, 0, {}, {}, [], list(load.unexpected))
    verdict.kinds = dict(Counter(_outcome(each) for each in load.operations))
    doubtful = sum(not each.known for each in load.operations)
    verdict.unknown = doubtful + load.claims_in_doubt
    verdict.kinds["claim: unknown"] = load.claims_in_doubt
    check(history, verdict)
    return verdict


def check(history: list[Operation], verdict: Verdict) -> None:
    runs = by_run(history)
    verdict.runs = len(runs)
    for run_id, operations in runs.items():
        try:
            fine = linearizable(operations)
        except UndecidedError:
            verdict.undecided.append(run_id)
            continue
        if not fine:
            verdict.violations[run_id] = render(_shortest(operations))


def _shortest(operations: list[Operation]) -> list[Operation]:
    try:
        return minimal(operations)
    except UndecidedError:  # only a part was undecided: the whole history was decided
        return operations


def _outcome(operation: Operation) -> str:
    return f"{operation.kind}: {'ok' if operation.answer else operation.refused or 'unknown'}"
