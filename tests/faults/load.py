"""Concurrent clients that ask replicas at random for operations on the same few runs, and record all of it.

A request is sent once and never repeated by itself. Where it gets no answer, or a 5xx, its outcome is unknown.
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
from .requests import OK, REFUSED, request, told

LEASE_S = 5
ANSWER_S = 3.0
SHUN_S = 0.5  # how long a client leaves a replica alone that gave it no answer
FAST, SLOW = 12, 48
OPERATIONS = (20, 40)  # of one run, at least and at most
ENDING = 14  # so many operations before the last one, clients begin to end it
SLOW_PAUSE_S = (0.2, 2.5)
SLOTS_PER_TARGET = 3
RUNS_PER_TARGET = 6
WEIGHTS = {
    "append": 34,
    "claim": 16,
    "get": 14,
    "events": 11,
    "heartbeat": 10,
    "complete": 5,
    "release": 4,
    "create": 2,
    "cancel": 1,
}
ENDS = {"complete", "cancel"}


class Subject:
    """One run as all its clients together treat it."""

    def __init__(self, run_id: str, target: str, dice: random.Random, *, slow: bool):
        self.run_id, self.target, self.slow = run_id, target, slow
        self.left = dice.randint(*OPERATIONS)
        self.created = False
        self.ready_at = 0.0
        self.labels = 0
        self.latest: dict[int, int] = {}  # what each client believes the log's end to be
        self.proofs: dict[int, tuple[int, str]] = {}  # attempt and token of each client's last claim
        self.doubted: dict[int, Sent] = {}  # each client's last append with a cursor that got no answer


class Load:
    """Clients that work until `finish()`. `replicas` are e2e servers: their `url` may change, as they are restarted.

    `operations` are what was recorded so far, but for claims without an answer; `unexpected` are the answers that no operation
    may ever get.
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

    # For whoever injects faults meanwhile

    def acknowledged(self, replica=None) -> int:
        return sum(each.told is not None and replica in (None, each.replica) for each in self.operations)

    def pass_by(self, operations: int, seconds: float = 60.0) -> None:
        """Wait until so many more operations were answered."""
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
        """Stop, and read every run once more, until each answered. The replicas must be up."""
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
        """All of it; a claim without an answer stands in the history of every run that it may have got."""
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
        except BaseException as failure:  # noqa: BLE001 - shown by whoever waits
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
        """Any slot whose run is due for an operation; often one that the client believes to hold."""
        now = time.monotonic()
        slot = self._dice.randrange(FAST + SLOW)
        if self._dice.random() < 0.8:
            slot %= FAST
        if self._dice.random() < 0.4:
            held = [place for place, each in enumerate(self._slots) if client in each.proofs]
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
        """A claim without an answer may have got any run of its target, now or later."""
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
                # Called off, so that it stands in no later claim's way; and looked at once more.
                await self._ask(subject, "cancel", Sent())
                await self._ask(subject, "events", Sent())
                self._load.retire(slot, subject)
            else:
                await asyncio.sleep(0.001)

    def _choose(self, subject: Subject) -> tuple[str, Sent]:
        dice, me = self._dice, self._number
        if not subject.created:
            return "create", Sent()
        [kind] = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if kind in ENDS and subject.left > ENDING:
            kind = "append"
        proof = subject.proofs.get(me)
        if proof is None and kind in {"heartbeat", "release"}:
            kind = "claim"
        fence = Sent()
        if proof is not None and dice.random() < 0.85:
            fence = Sent(attempt=proof[0]) if dice.random() < 0.5 else Sent(token=proof[1])
        match kind:
            case "claim":
                return kind, Sent(worker=self._worker, lease_s=LEASE_S)
            case "heartbeat":
                return kind, Sent(attempt=proof[0], lease_s=LEASE_S)
            case "release":
                pause = dice.choice([None, 0, 0])
                return kind, Sent(worker=self._worker, attempt=proof[0], retry_after_s=pause)
            case "append":
                return kind, self._append(subject, fence)
            case "complete":
                subject.labels += 1
                label = f"{me}-{subject.labels}"
                status = dice.choice(["completed", "failed"])
                return kind, Sent(attempt=fence.attempt, token=fence.token, status=status, label=label)
        return kind, Sent()

    def _append(self, subject: Subject, fence: Sent) -> Sent:
        again = subject.doubted.pop(self._number, None)
        if again is not None and self._dice.random() < 0.7:
            return again
        labels = []
        for _ in range(self._dice.randint(1, 3)):
            subject.labels += 1
            labels.append(f"{self._number}-{subject.labels}")
        after = subject.latest.get(self._number, 0) if self._dice.random() < 0.5 else None
        return Sent(attempt=fence.attempt, token=fence.token, labels=tuple(labels), after=after)

    async def read_all(self, subjects: list[Subject]) -> None:
        """Each run and its log, at a replica of its own choice, however often it takes."""
        deadline = time.monotonic() + 60
        for subject in subjects:
            for kind in ("get", "events"):
                while not await self._ask(subject, kind, Sent()):
                    assert time.monotonic() < deadline, f"{subject.run_id} cannot be read"
                    await asyncio.sleep(0.05)

    async def _ask(self, subject: Subject, kind: str, sent: Sent) -> bool:
        """Whether an answer came that tells something."""
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
            heard = told(kind, answer)
            if heard is None:
                return False
            run_id = answer["run"]["run_id"] if kind == "claim" else subject.run_id
            self._learn(load.subjects[run_id], kind, heard)
            load.operations.append(Operation(run_id, kind, told=heard, **known))
            return True
        if status in REFUSED:
            load.operations.append(Operation(subject.run_id, kind, refused=answer["code"], **known))
            return True
        if status != 503:
            load.unexpected.append(f"{kind} of {subject.run_id} at {name}: {status} {content[:300]!r}")
        del known["completed"]
        self._in_doubt(subject, kind, known)
        await asyncio.sleep(0.2)  # less than it is asked to: many more such answers would tell nothing new
        return False

    def _in_doubt(self, subject: Subject, kind: str, known: dict) -> None:
        if kind in {"get", "events"}:
            return
        if kind == "append" and known["sent"].after is not None:
            subject.doubted[self._number] = known["sent"]
        operation = Operation(subject.run_id, kind, **known)
        if kind == "claim":
            self._load.doubt(subject.target, operation)
        else:
            self._load.operations.append(operation)

    def _learn(self, subject: Subject, kind: str, heard) -> None:
        subject.created = True
        if heard.seen is not None:
            subject.latest[self._number] = heard.seen.latest_event_id
        if kind == "claim":
            subject.proofs[self._number] = (heard.seen.attempt, heard.token)

    async def _connection(self) -> tuple[int, tuple[str, Connection | None, bytes]]:
        """An open connection to some replica; without a name where there was none, and nothing was sent."""
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
