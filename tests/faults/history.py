"""The history of a run as its clients know it: their requests and the answers.

Times are seconds of this machine's monotonic clock.
"""

import math
from pathlib import Path

import msgspec


class Sent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parameters of an operation; each kind uses some of them.

    `attempt` and `token` are the fence. `labels` are the appended events, all of them unique, or the log of a fork;
    `after` is the expected_previous_event_id. `label` is the output of a completion, the payload and the key of a signal,
    the key of a compensation, the call of a wait, the id of an event of the bus, or the key of a retry. `match` of a
    wait: the only event that it takes has this value, and `match` of an event is its value. `step` is where a retry goes
    on. `pinned` of a create and `version` of a claim: the run stays with the version that claims it first. `budget`: so
    many reports of usage fail the run.
    """

    worker: str | None = None
    lease_s: float = 0.0
    attempt: int | None = None
    token: str | None = None
    labels: tuple[str, ...] = ()
    after: int | None = None
    status: str | None = None
    label: str | None = None
    retry_after_s: float | None = None
    pinned: bool = False
    version: str | None = None
    match: int | None = None
    step: str | None = None
    budget: int | None = None


class RunSnapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run in an answer. `brief`: the form that workers get, without the outcome and the lease owner."""

    status: str
    attempt: int
    latest_event_id: int
    owner: str | None = None
    output: str | None = None
    error: str | None = None
    completed_at: str | None = None
    brief: bool = False


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A 2xx answer.

    `accepted` is the member `duplicate` of create, signal, compensate and an event of the bus, `completed` of complete,
    `cancelled` of cancel, `delivered` that of signal. `log` of children: the labels of the compensations, in the order in
    which they run; of forks: the keys of the retries; of started: the ids of the events that started runs; of a retry:
    the mark in its log. `taken` is the payload of the signal that a wait took. `appended` of a retry is the number of
    events that its log begins with, and of spent the usage. `made` is the run that a retry created.
    """

    run: RunSnapshot | None = None
    accepted: bool | None = None
    appended: int | None = None
    token: str | None = None
    log: tuple[str, ...] | None = None
    delivered: bool | None = None
    taken: str | None = None
    made: str | None = None


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. Without `answer` and `refused` (an error code), it is unknown whether it takes effect."""

    run_id: str
    kind: str
    invoked: float
    completed: float = math.inf
    sent: Sent = Sent()
    answer: Answer | None = None
    refused: str | None = None
    client: int = 0
    replica: str = ""

    @property
    def known(self) -> bool:
        return self.answer is not None or self.refused is not None

    def without_answer(self) -> "Operation":
        """Return the operation as it was before its answer arrived."""
        return msgspec.structs.replace(self, completed=math.inf, answer=None, refused=None)


def by_run(operations: list[Operation]) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.run_id, []).append(operation)
    return found


def render(operations: list[Operation]) -> str:
    """Return one line for each operation, in the order of invocation, with times since the first one."""
    first = min((each.invoked for each in operations), default=0.0)
    return "\n".join(_line(each, first) for each in sorted(operations, key=lambda each: each.invoked))


def _line(operation: Operation, first: float) -> str:
    ended = f"{operation.completed - first:9.3f}" if operation.known else "        ?"
    sent = msgspec.json.encode(operation.sent).decode()
    answer = operation.refused or (
        "unknown" if operation.answer is None else msgspec.json.encode(operation.answer).decode()
    )
    who = f"client {operation.client} at {operation.replica}"
    return f"{operation.invoked - first:9.3f} to {ended}  {who}  {operation.kind} {sent} -> {answer}"


def save(path: Path, operations: list[Operation]) -> None:
    """Write one JSON object per line. An unknown completion time is left out."""
    lines = [msgspec.to_builtins(each) for each in operations]
    for line in lines:
        if line.get("completed") == math.inf:
            del line["completed"]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def load(path: Path) -> list[Operation]:
    decoder = msgspec.json.Decoder(Operation)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()]
