"""Concurrent clients that send random operations on a few runs to random replicas, and record their history.

A request is sent once and never retried automatically. Without an answer, or with a 5xx answer, its outcome
is unknown.
"""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import msgspec

from runstead.bench.connection import Connection, DroppedError, Target

from .history import Operation, Sent
from .requests import OK, REFUSED, parse_answer, request

LEASE_S = 5
ANSWER_S = 3.0
SHUN_S = 0.5  # how long a client avoids a replica that did not answer
FAST, SLOW = 12, 48
OPERATIONS = (20, 40)  # minimum and maximum for one run
ENDING = 14  # clients may end a run in its last operations, this many
SLOW_PAUSE_S = (0.2, 2.5)
SLOTS_PER_TARGET = 3
RUNS_PER_TARGET = 6
WEIGHTS = {
    "append": 34,
    "claim": 16,
    "get": 14,
    "events": 11,
    "heartbeat": 10,
    "signal": 7,
    "wait": 5,
    "compensate": 4,
    "children": 3,
    "complete": 5,
    "release": 4,
    "create": 2,
    "cancel": 1,
}
ENDS = {"complete", "cancel"}


class Subject:
    """The state of one run that its clients share."""

    def __init__(self, run_id: str, target: str, dice: random.Random, *, slow: bool):
        self.run_id, self.target, self.slow = run_id, target, slow
        self.left = dice.randint(*OPERATIONS)
        self.pinned = dice.random() < 0.3  # to the version of half of the clients
        self.created = False
        self.ready_at = 0.0
        self.labels = 0
        self.latest: dict[int, int] = {}  # client → the latest event id that it knows
        self.fences: dict[int, tuple[int, str]] = {}  # client → attempt and token of its last claim
        self.unanswered: dict[int, Sent] = {}  # client → its last append with a cursor that got no answer
        self.unsent: dict[int, Sent] = {}  # client → its last signal that got no answer
        self.unregistered: dict[int, Sent] = {}  # client → its last compensation that got no answer


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
        with replicas[0].api() as api:
            self.project_id = api.project_id()
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
        self._thread.join(120)
        assert not self._thread.is_alive(), "a client hangs"
        if self.failures:
            raise self.failures[0]

    @property
    def claims_in_doubt(self) -> int:
        return len(self._claims)

    @property
    def history(self) -> list[Operation]:
        """The complete history.

        A claim without an answer is in the history of every run that it may have got.
        """
        return self.operations + [
            msgspec.structs.replace(claim, run_id=subject.run_id)
            for target, claim in self._claims
            for subject in self.subjects.values()
            if subject.target == target
        ]

    # Within the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as failure:  # noqa: BLE001 - raised again in `wait_for` and `finish`
            self.failures.append(failure)

    async def _main(self) -> None:
        clients = [_Client(self, number, worker) for number, worker in enumerate(self._workers)]
        try:
            await asyncio.gather(*(client.work() for client in clients))
            share = list(self.subjects.values())
            await asyncio.gather(
                *(client.read_all(share[place :: len(clients)]) for place, client in enumerate(clients))
            )
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
        self._numbers += 1
        group = slot // SLOTS_PER_TARGET
        target = f"task:{self.name}-{group}-{self._made[group] // RUNS_PER_TARGET}"
        self._made[group] += 1
        subject = Subject(f"{self.name}-{self._numbers}", target, self._dice, slow=slot >= FAST)
        self.subjects[subject.run_id] = subject
        return subject

    def doubt(self, target: str, claim: Operation) -> None:
        """Record a claim without an answer, which may have got any run of its target, now or later."""
        self._claims.append((target, claim))


class _Client:
    def __init__(self, load: Load, number: int, worker: str):
        self._load, self._number, self._worker = load, number, worker
        self._dice = random.Random(f"{load.name} {number}")
        self._connections: dict[int, tuple[str, Connection, bytes]] = {}
        self._shunned: dict[int, float] = {}

    def close(self) -> None:
        for _, connection, _ in self._connections.values():
            connection.close()

    async def work(self) -> None:
        while not self._load.stopping:
            picked = self._load.pick(self._number)
            if picked is None:
                await asyncio.sleep(0.001)
                continue
            slot, subject = picked
            if subject.left > 0:
                await self._ask(subject, *self._choose(subject))
            elif subject.left == 0:
                # Cancel the run, so that no later claim gets it, and read it a last time.
                await self._ask(subject, "cancel", Sent())
                await self._ask(subject, "events", Sent())
                await self._ask(subject, "children", Sent())
                self._load.retire(slot, subject)
            else:
                await asyncio.sleep(0.001)

    def _choose(self, subject: Subject) -> tuple[str, Sent]:
        dice, me = self._dice, self._number
        if not subject.created:
            return "create", Sent(pinned=subject.pinned)
        [kind] = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if kind in ENDS and subject.left > ENDING:
            kind = "append"
        claimed = subject.fences.get(me)
        if claimed is None and kind in {"heartbeat", "release"}:
            kind = "claim"
        fence = Sent()
        if claimed is not None and dice.random() < 0.85:
            fence = Sent(attempt=claimed[0]) if dice.random() < 0.5 else Sent(token=claimed[1])
        match kind:
            case "claim":
                return kind, Sent(worker=self._worker, lease_s=LEASE_S, version=f"v{me % 2}")
            case "heartbeat":
                return kind, Sent(attempt=claimed[0], lease_s=LEASE_S)
            case "release":
                pause = dice.choice([None, 0, 0])
                return kind, Sent(worker=self._worker, attempt=claimed[0], retry_after_s=pause)
            case "append":
                return kind, self._append(subject, fence)
            case "signal":
                again = subject.unsent.pop(me, None)
                return kind, again or Sent(label=self._label(subject))
            case "compensate":
                again = subject.unregistered.pop(me, None)
                label = self._label(subject)
                return kind, again or Sent(attempt=fence.attempt, token=fence.token, label=label)
            case "wait":
                return kind, Sent(attempt=fence.attempt, token=fence.token, label=self._label(subject))
            case "complete":
                label = self._label(subject)
                status = dice.choice(["completed", "failed"])
                return kind, Sent(attempt=fence.attempt, token=fence.token, status=status, label=label)
        return kind, Sent()

    def _append(self, subject: Subject, fence: Sent) -> Sent:
        again = subject.unanswered.pop(self._number, None)
        if again is not None and self._dice.random() < 0.7:
            return again
        labels = [self._label(subject) for _ in range(self._dice.randint(1, 3))]
        after = subject.latest.get(self._number, 0) if self._dice.random() < 0.5 else None
        return Sent(attempt=fence.attempt, token=fence.token, labels=tuple(labels), after=after)

    def _label(self, subject: Subject) -> str:
        """A text that no other operation of the run has."""
        subject.labels += 1
        return f"{self._number}-{subject.labels}"

    async def read_all(self, subjects: list[Subject]) -> None:
        """Read each run and its log at random replicas, until both are answered."""
        deadline = time.monotonic() + 60
        for subject in subjects:
            for kind in ("get", "events", "children"):
                while not await self._ask(subject, kind, Sent()):
                    assert time.monotonic() < deadline, f"{subject.run_id} cannot be read"
                    await asyncio.sleep(0.05)

    async def _ask(self, subject: Subject, kind: str, sent: Sent) -> bool:
        """Send an operation and record it. Returns whether its outcome is known."""
        load = self._load
        place, (name, connection, headers) = await self._connection()
        if name == "":
            return False
        method, path, body, token = request(kind, subject.run_id, subject.target, load.project_id, sent)
        invoked = time.monotonic()
        known: dict = {"invoked": invoked, "sent": sent, "client": self._number, "replica": name}
        try:
            status, content = await connection.request(method, path, body, headers + token.encode())
        except DroppedError:
            self._shunned[place] = time.monotonic() + SHUN_S
            self._in_doubt(subject, kind, known)
            return False
        known["completed"] = time.monotonic()
        answer = json.loads(content) if content else {}
        if status in OK:
            parsed = parse_answer(kind, answer)
            if parsed is None:
                return False
            run_id = answer["run"]["run_id"] if kind == "claim" else subject.run_id
            self._learn(load.subjects[run_id], kind, parsed)
            load.operations.append(Operation(run_id, kind, answer=parsed, **known))
            return True
        if status in REFUSED:
            load.operations.append(Operation(subject.run_id, kind, refused=answer["code"], **known))
            return True
        if status != 503:
            load.unexpected.append(f"{kind} of {subject.run_id} at {name}: {status} {content[:300]!r}")
        del known["completed"]
        self._in_doubt(subject, kind, known)
        await asyncio.sleep(0.2)  # shorter than Retry-After, but long enough to avoid very many such answers
        return False

    def _in_doubt(self, subject: Subject, kind: str, known: dict) -> None:
        if kind in {"get", "events", "children"}:
            return
        if kind == "append" and known["sent"].after is not None:
            subject.unanswered[self._number] = known["sent"]
        if kind == "signal":
            subject.unsent[self._number] = known["sent"]
        if kind == "compensate":
            subject.unregistered[self._number] = known["sent"]
        operation = Operation(subject.run_id, kind, **known)
        if kind == "claim":
            self._load.doubt(subject.target, operation)
        else:
            self._load.operations.append(operation)

    def _learn(self, subject: Subject, kind: str, parsed) -> None:
        subject.created = True
        if parsed.run is not None:
            subject.latest[self._number] = parsed.run.latest_event_id
        if kind == "claim":
            subject.fences[self._number] = (parsed.run.attempt, parsed.token)

    async def _connection(self) -> tuple[int, tuple[str, Connection | None, bytes]]:
        """Return an open connection to a random replica.

        Its name is "" if there is none and nothing was sent.
        """
        load, now = self._load, time.monotonic()
        place = self._dice.randrange(len(load.replicas))
        if self._shunned.get(place, 0.0) > now:
            return place, ("", None, b"")
        replica = load.replicas[place]
        url = replica.url
        kept = self._connections.get(place)
        if kept is None or kept[0] != url:
            if kept is not None:
                kept[1].close()
            target = Target.from_url(url)
            kept = (url, Connection(target, timeout_s=ANSWER_S), target.headers(replica.key))
            self._connections[place] = kept
        with suppress(DroppedError):
            await kept[1].open()
            return place, (replica.directory.name, kept[1], kept[2])
        self._shunned[place] = time.monotonic() + SHUN_S
        await asyncio.sleep(0.01)
        return place, ("", None, b"")
