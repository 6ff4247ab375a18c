"""The runs of a load, and the histories of those whose operations were sent to another object."""

import random

from msgspec.structs import replace

from .history import Answer, Operation, Sent, by_run
from .labels import FAILED, kept
from .model import TERMINAL

OPERATIONS = (20, 40)  # minimum and maximum for one run
PINNED, BOUNDED = 0.3, 0.3  # shares of the runs
BUDGETS = (1, 4)


class Subject:
    """The state of one run that its clients share. `group` is the name of the events that it waits for.

    A retry has the run that it goes on from in `first`, and its key in `key`.
    """

    def __init__(self, run_id: str, target: str, group: str, dice: random.Random, *, slow: bool):
        self.run_id, self.target, self.group, self.slow = run_id, target, group, slow
        self.left = dice.randint(*OPERATIONS)
        self.pinned = dice.random() < PINNED  # to the version of half of the clients
        self.budget = dice.randint(*BUDGETS) if dice.random() < BOUNDED else None
        self.first: str | None = None
        self.key = ""
        self.created = False
        self.ready_at = 0.0
        self.labels = self.steps = 0
        self.latest: dict[int, int] = {}  # client → the latest event id that it knows
        self.fences: dict[int, tuple[int, str]] = {}  # client → attempt and token of its last claim
        self.unanswered: dict[int, Sent] = {}  # client → its last append with a cursor that got no answer
        self.unsent: dict[int, Sent] = {}  # client → its last signal that got no answer
        self.unregistered: dict[int, Sent] = {}  # client → its last compensation that got no answer
        self.unforked: dict[str, Sent] = {}  # key → a retry that got no answer
        self.forked: list[Sent] = []  # retries that did

    def fork(self, run_id: str, key: str, dice: random.Random) -> "Subject":
        """Return the run that a retry of this one created."""
        made = Subject(run_id, self.target, self.group, dice, slow=self.slow)
        made.pinned, made.budget, made.steps = self.pinned, self.budget, self.steps
        made.first, made.key, made.created = self.run_id, key, True
        return made

    def step(self, dice: random.Random) -> str:
        """Return where a retry goes on."""
        return str(dice.randint(1, self.steps)) if self.steps and dice.random() < 0.6 else FAILED


def forks(operations: list[Operation], subjects: list[Subject]) -> list[Operation]:
    """Return the retries as the runs see them that they created: each begins with the log that it must keep."""
    runs = by_run(operations)
    found = []
    for subject in subjects:
        if subject.first is not None:
            first = runs.get(subject.first, [])
            begun = Sent(labels=_begins(first, subject), pinned=subject.pinned, budget=subject.budget)
            found += [
                replace(each, run_id=subject.run_id, kind="fork", sent=begun, answer=each.answer and Answer())
                for each in first
                if (each.kind, each.sent.label, each.refused) == ("retry", subject.key, None)
            ]
    return found


def _begins(first: list[Operation], subject: Subject) -> tuple[str, ...]:
    """Return the log of the retry, by the last read of the first run's log."""
    reads = [each for each in first if each.answer is not None and each.completed > _ended(first)]
    logs = [each.answer.log for each in reads if each.kind == "events"]
    steps = [each.sent.step for each in first if each.kind == "retry" and each.sent.label == subject.key]
    completed = any(each.answer.run is not None and each.answer.run.status == "completed" for each in reads)
    return (logs and kept(logs[-1], subject.first, steps[0], completed=completed)) or ()


def published(operations: list[Operation], subjects: list[Subject]) -> list[Operation]:
    """Return the events of the bus as the runs see them that may have waited for them."""
    runs = by_run(operations)
    found = []
    for subject in subjects:
        mine = runs.get(subject.run_id, [])
        waits = [each.invoked for each in mine if each.kind == "wait" and each.refused is None]
        if not waits:
            continue
        ended = _ended(mine)
        events = [each for each in runs.get(subject.group, []) if each.kind == "store"]
        late = {each.sent.label for each in events if each.completed > min(waits)}
        found += [
            replace(each, run_id=subject.run_id, kind="publish", answer=each.answer and Answer())
            for each in events
            if each.invoked < ended and each.sent.label in late
        ]
    return found


def _ended(operations: list[Operation]) -> float:
    """Return the time from which the run has surely ended."""
    shown = [each for each in operations if each.answer is not None and each.answer.run is not None]
    return min((each.completed for each in shown if each.answer.run.status in TERMINAL), default=float("inf"))
