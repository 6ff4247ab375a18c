"""A client that sends random operations to random replicas and records them.

A request is sent once and never retried automatically. Without an answer, or with a 5xx answer, its outcome
is unknown.
"""

import asyncio
import json
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runstead.bench.connection import Connection, DroppedError, Target

from .history import Operation, Sent
from .labels import STEP, USAGE
from .model import READS
from .requests import OK, REFUSED, parse_answer, request
from .subject import Subject

if TYPE_CHECKING:
    from .load import Load

LEASE_S = 5
ANSWER_S = 3.0
SHUN_S = 0.5  # how long a client avoids a replica that did not answer
ENDING = 14  # clients may end a run in its last operations, this many
WEIGHTS = {
    "append": 34,
    "claim": 16,
    "get": 14,
    "events": 11,
    "heartbeat": 10,
    "signal": 7,
    "wait": 8,
    "publish": 8,
    "retry": 4,
    "forks": 2,
    "spent": 2,
    "compensate": 4,
    "children": 3,
    "complete": 5,
    "release": 4,
    "create": 2,
    "cancel": 1,
}
ENDS = {"complete", "cancel"}
AFTER_END = {"retry", "forks"}
NOTHING = Sent()
OF_GROUP = {"signal", "wait", "publish"}
GO_ON = 0.5  # share of the runs that are retried at their end, and of the retries that another one follows


class Client:
    def __init__(self, load: "Load", number: int, worker: str):
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
                for kind in ("cancel", "events", "children", "spent"):
                    await self._ask(subject, kind, Sent())
                await self._go_on(subject)
                self._load.retire(slot, subject)
            else:
                await asyncio.sleep(0.001)

    async def _go_on(self, subject: Subject) -> None:
        """Retry the ended run, perhaps with the same key once more, and list its retries."""
        while self._dice.random() < GO_ON:
            await self._ask(subject, "retry", self._retry(subject))
            await self._ask(subject, "forks", Sent())

    def _choose(self, subject: Subject) -> tuple[str, Sent]:
        dice, me = self._dice, self._number
        if not subject.created:
            return "create", Sent(pinned=subject.pinned, budget=subject.budget)
        [kind] = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if kind in ENDS | AFTER_END and subject.left > ENDING:
            kind = "append"
        claimed = subject.fences.get(me)
        if claimed is None and kind in {"heartbeat", "release"}:
            kind = "claim"
        fence = Sent()
        if claimed is not None and dice.random() < 0.85:
            fence = Sent(attempt=claimed[0]) if dice.random() < 0.3 else Sent(token=claimed[1])
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
                match = dice.choice([None, 0, 1])
                call = f"wait:{self._step(subject)}"
                return kind, Sent(attempt=fence.attempt, token=fence.token, label=call, match=match)
            case "publish":
                return kind, self._load.event(subject.group, dice)
            case "retry":
                return kind, self._retry(subject)
            case "complete":
                label = self._label(subject)
                status = dice.choice(["completed", "failed"])
                return kind, Sent(attempt=fence.attempt, token=fence.token, status=status, label=label)
        return kind, Sent()

    def _append(self, subject: Subject, fence: Sent) -> Sent:
        again = subject.unanswered.pop(self._number, None)
        if again is not None and self._dice.random() < 0.7:
            return again
        labels = [self._event(subject, fence) for _ in range(self._dice.randint(1, 3))]
        after = subject.latest.get(self._number, 0) if self._dice.random() < 0.5 else None
        return Sent(attempt=fence.attempt, token=fence.token, labels=tuple(labels), after=after)

    def _event(self, subject: Subject, fence: Sent) -> str:
        """The label of an event to append. Only the holder of the lease may append steps and usage."""
        label, chance = self._label(subject), self._dice.random()
        if fence.token is None or chance > 0.75:
            return label
        return f"{STEP}{self._step(subject)}: {label}" if chance < 0.55 else f"{USAGE}{label}"

    def _step(self, subject: Subject) -> int:
        """The number of the next step of a run: it has each once."""
        subject.steps += 1
        return subject.steps

    def _retry(self, subject: Subject) -> Sent:
        """A retry with a key of its own, or a repeat."""
        if subject.unforked:
            return self._dice.choice(list(subject.unforked.values()))
        if subject.forked and self._dice.random() < 0.6:
            return self._dice.choice(subject.forked)
        return Sent(label=self._label(subject), step=subject.step(self._dice))

    def _label(self, subject: Subject) -> str:
        """A text that no other operation of the run has."""
        subject.labels += 1
        return f"{self._number}-{subject.labels}"

    async def read_all(self, subjects: list[Subject]) -> None:
        """Repeat the retries of each run that got no answer, and read it at random replicas until all is answered."""
        for subject in subjects:
            while missing := list(subject.unforked.values()):
                await self._until_known(subject, "retry", missing[0])
            for kind in ("get", "events", "children", "forks", "spent"):
                await self._until_known(subject, kind)

    async def read_group(self, group: str) -> None:
        """Publish the events of a group until each has reached all runs, and read which runs they started."""
        load = self._load
        bus = Subject(group, load.started(group), group, self._dice, slow=False)
        while missing := list(load.unpublished[group].values()):
            await self._until_known(bus, "publish", missing[0])
        await self._until_known(bus, "started")

    async def _until_known(self, subject: Subject, kind: str, sent: Sent = NOTHING) -> None:
        deadline = time.monotonic() + 60
        while not await self._ask(subject, kind, sent):
            assert time.monotonic() < deadline, f"{kind} of {subject.run_id} gets no answer"
            await asyncio.sleep(0.05)

    async def _ask(self, subject: Subject, kind: str, sent: Sent) -> bool:
        """Send an operation and record it. Returns whether its outcome is known."""
        load = self._load
        place, (name, connection, headers) = await self._connection()
        if name == "":
            return False
        target = subject.group if kind in OF_GROUP else subject.target
        method, path, body, header = request(kind, subject.run_id, target, load.project_id, sent)
        invoked = time.monotonic()
        known: dict = {"invoked": invoked, "sent": sent, "client": self._number, "replica": name}
        try:
            status, content = await connection.request(method, path, body, headers + header.encode())
        except DroppedError:
            self._shunned[place] = time.monotonic() + SHUN_S
            self._in_doubt(subject, kind, known)
            return False
        known["completed"] = time.monotonic()
        answer = json.loads(content) if content else {}
        if status in OK and not answer.get("pending"):
            parsed = parse_answer(kind, answer)
            if parsed is None:
                return False
            of = load.claimed(answer["run"]) if kind == "claim" else subject
            self._learn(of, kind, sent, parsed)
            self._record(of, kind, known, answer=parsed)
            return True
        if status in REFUSED:
            if kind == "retry" and answer["code"] != "IDEMPOTENCY_KEY_IN_USE":
                subject.unforked.pop(sent.label, None)
            self._record(subject, kind, known, refused=answer["code"])
            return True
        if status not in {*OK, 503}:
            load.unexpected.append(f"{kind} of {subject.run_id} at {name}: {status} {content[:300]!r}")
        del known["completed"]
        self._in_doubt(subject, kind, known)
        await asyncio.sleep(0.2)  # shorter than Retry-After, but long enough to avoid very many such answers
        return False

    def _in_doubt(self, subject: Subject, kind: str, known: dict) -> None:
        if kind in READS:
            return
        if kind == "append" and known["sent"].after is not None:
            subject.unanswered[self._number] = known["sent"]
        if kind == "signal":
            subject.unsent[self._number] = known["sent"]
        if kind == "compensate":
            subject.unregistered[self._number] = known["sent"]
        if kind == "retry":
            subject.unforked[known["sent"].label] = known["sent"]
        if kind == "publish":
            self._load.unpublished[subject.group][known["sent"].label] = known["sent"]
        if kind == "claim":
            self._load.doubt(subject.target, Operation(subject.run_id, kind, **known))
        else:
            self._record(subject, kind, known)

    def _record(self, subject: Subject, kind: str, known: dict, **outcome) -> None:
        """Record an operation. An event is an operation of its group's bus."""
        run_id = subject.run_id
        if kind == "publish":
            run_id, kind = subject.group, "store"
        self._load.operations.append(Operation(run_id, kind, **known, **outcome))

    def _learn(self, subject: Subject, kind: str, sent: Sent, parsed) -> None:
        if kind == "publish":
            self._load.unpublished[subject.group].pop(sent.label, None)
            return
        if kind == "retry":
            subject.unforked.pop(sent.label, None)
            if sent not in subject.forked:
                subject.forked.append(sent)
            self._load.adopt(parsed.made, subject, sent.label)
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
