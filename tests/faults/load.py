"""Concurrent clients that send random operations on a few runs to random replicas, and record their history."""

import asyncio
import random
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable

import msgspec

from .client import Client
from .history import Operation, Sent
from .model import TRIGGERED
from .requests import trigger
from .subject import Subject, forks, published

FAST, SLOW = 12, 48
SLOW_PAUSE_S = (0.2, 2.5)
SLOTS_PER_TARGET = 3
RUNS_PER_TARGET = 6
STARTS = 60  # by the events of a group: they are read as one page


class Load:
    """Clients that work until `finish()`. `replicas` are e2e servers, whose `url` may change when they are
    restarted.

    `operations` is the recorded history without claims that got no answer. `unexpected` are answers that no
    operation may get.
    """

    def __init__(self, replicas, name, *, clients=12, seed=0):
        self.replicas, self.name = replicas, name
        self.operations: list[Operation] = []
        self.unexpected: list[str] = []
        self.subjects: dict[str, Subject] = {}
        self.failures: list[BaseException] = []
        self._dice = random.Random(seed)
        self._clients = clients
        self._stop = False
        self._slots: list[Subject] = []
        self._numbers = 0
        self._made: Counter[int] = Counter()  # runs of each group of slots
        self._claims: list[tuple[str, Operation]] = []  # without an answer, and their targets
        self._forks: deque[Subject] = deque()  # that have no slot yet
        self.unpublished: dict[str, dict[str, Sent]] = defaultdict(
            dict
        )  # group → id → an event without an answer
        self._events: dict[str, list[Sent]] = defaultdict(list)  # group → all events
        self._triggered = [self._group(number) for number in range(FAST // SLOTS_PER_TARGET)]
        with replicas[0].api() as api:
            self.project_id = api.project_id()
            for group in self._triggered:
                api.post(f"/projects/{self.project_id}/triggers", trigger(group, self.started(group)))
            self._workers = [api.register(f"{name}-{client}") for client in range(clients)]
        for slot in range(FAST + SLOW):
            self._slots.append(self._fresh(slot))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # Called by the faults, while the clients work

    def acknowledged(self, replica=None) -> int:
        return sum(each.answer is not None and replica in (None, each.replica) for each in self.operations)

    def pass_by(self, operations: int, seconds: float = 60.0) -> None:
        """Wait until this many more operations were answered."""
        wanted = len(self.operations) + operations
        self.wait_for(lambda: len(self.operations) >= wanted, f"{operations} more operations", seconds)

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if self.failures:
                raise self.failures[0]
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
            time.sleep(0.02)

    def finish(self) -> None:
        """Stop the clients, and read every run until it is answered. The replicas must be up."""
        self._stop = True
        self._thread.join(300)
        assert not self._thread.is_alive(), "a client hangs"
        if self.failures:
            raise self.failures[0]

    @property
    def claims_in_doubt(self) -> int:
        return len(self._claims)

    @property
    def history(self) -> list[Operation]:
        """The complete history.

        A claim without an answer is in the history of every run that it may have got, an event of the bus in the
        histories of the runs that may have waited for it, and a retry also in the history of its new run.
        """
        operations, subjects = self.operations.copy(), [*self.subjects.values()]
        claims = [
            msgspec.structs.replace(claim, run_id=subject.run_id)
            for target, claim in self._claims
            for subject in subjects
            if subject.target == target
        ]
        return operations + claims + forks(operations, subjects) + published(operations, subjects)

    # Within the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as failure:  # noqa: BLE001 - raised again in `wait_for` and `finish`
            self.failures.append(failure)

    async def _main(self) -> None:
        clients = [Client(self, number, worker) for number, worker in enumerate(self._workers)]
        try:
            await asyncio.gather(*(client.work() for client in clients))
            groups = self._triggered
            await asyncio.gather(
                *(client.read_group(group) for client, group in zip(clients, groups, strict=False))
            )
            read: set[str] = set()
            while new := [each for each in self.subjects.values() if each.run_id not in read]:
                await asyncio.gather(
                    *(client.read_all(new[place :: len(clients)]) for place, client in enumerate(clients))
                )
                read |= {each.run_id for each in new}
        finally:
            for client in clients:
                client.close()

    @property
    def stopping(self) -> bool:
        return self._stop

    def pick(self, client: int) -> tuple[int, Subject] | None:
        """Pick a random slot whose run is due for an operation, often one that the client has claimed."""
        now = time.monotonic()
        slot = self._dice.randrange(FAST + SLOW)
        if self._dice.random() < 0.8:
            slot %= FAST
        if self._dice.random() < 0.4:
            held = [place for place, each in enumerate(self._slots) if client in each.fences]
            slot = self._dice.choice(held or [slot])
        subject = self._slots[slot]
        if subject.ready_at > now:
            return None
        if subject.slow:
            subject.ready_at = now + self._dice.uniform(*SLOW_PAUSE_S)
        subject.left -= 1
        return slot, subject

    def retire(self, slot: int, subject: Subject) -> None:
        if self._slots[slot] is subject:
            self._slots[slot] = self._fresh(slot)

    def _fresh(self, slot: int) -> Subject:
        if self._forks:
            subject = self._forks.popleft()
            subject.slow = slot >= FAST
            return subject
        self._numbers += 1
        group = slot // SLOTS_PER_TARGET
        target = f"task:{self.name}-{group}-{self._made[group] // RUNS_PER_TARGET}"
        self._made[group] += 1
        run_id = f"{self.name}-{self._numbers}"
        subject = Subject(run_id, target, self._group(group), self._dice, slow=slot >= FAST)
        self.subjects[subject.run_id] = subject
        return subject

    def _group(self, number: int) -> str:
        """The name of the events for which the runs of these slots wait."""
        return f"{self.name}-group-{number}"

    def started(self, group: str) -> str:
        """The target of the runs that the events of a group start."""
        return f"task:{group}-started"

    def event(self, group: str, dice: random.Random) -> Sent:
        """Return an event of a group: a new one, a repeat, or one whose publication got no answer."""
        events, missing = self._events[group], self.unpublished[group]
        if missing and dice.random() < 0.5:
            return dice.choice(list(missing.values()))
        if events and dice.random() < 0.2:
            return dice.choice(events[-3:])
        value = dice.choice([TRIGGERED, 1])
        if sum(each.match == TRIGGERED for each in events) >= STARTS:
            value = 1
        events.append(Sent(label=f"{group}-{len(events)}", match=value))
        return events[-1]

    def adopt(self, run_id: str, first: Subject, key: str) -> Subject:
        """Return the run that a retry created. It gets a slot later."""
        if run_id not in self.subjects:
            self.subjects[run_id] = first.fork(run_id, key, self._dice)
            self._forks.append(self.subjects[run_id])
        return self.subjects[run_id]

    def claimed(self, run: dict) -> Subject:
        """Return a claimed run. The claim may be the first answer that shows a retry."""
        known = self.subjects.get(run["run_id"])
        return known or self.adopt(run["run_id"], self.subjects[run["config"]["of"]], run["config"]["key"])

    def doubt(self, target: str, claim: Operation) -> None:
        """Record a claim without an answer, which may have got any run of its target, now or later."""
        self._claims.append((target, claim))
