"""What a client sent and what it was told: the history of a run, as its clients know it.

Times are seconds of this machine's monotonic clock.
"""

import math
from pathlib import Path

import msgspec


class Sent(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operation asked for; each kind uses some of it.

    `attempt` and `token` are the fence. `labels` are the appended events, each of them unique; `after` is the
    expected_previous_event_id. `label` is the output of a completion.
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


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run as an answer showed it. `brief`: as a worker gets it, without what ended it and who holds it."""

    status: str
    attempt: int
    latest_event_id: int
    owner: str | None = None
    output: str | None = None
    error: str | None = None
    completed_at: str | None = None
    brief: bool = False


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """A 2xx answer. `accepted` is what create calls duplicate, complete completed, and cancel cancelled."""

    seen: Seen | None = None
    accepted: bool | None = None
    appended: int | None = None
    token: str | None = None
    log: tuple[str, ...] | None = None


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request. Neither `told` nor `refused` (a code): nobody knows whether it took effect, or will."""

    run_id: str
    kind: str
    invoked: float
    completed: float = math.inf
    sent: Sent = Sent()
    told: Told | None = None
    refused: str | None = None
    client: int = 0
    replica: str = ""

    @property
    def known(self) -> bool:
        return self.told is not None or self.refused is not None

    def doubted(self) -> "Operation":
        """The same, as it stands before its answer has come."""
        return msgspec.structs.replace(self, completed=math.inf, told=None, refused=None)


def by_run(operations: list[Operation]) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.run_id, []).append(operation)
    return found


def render(operations: list[Operation]) -> str:
    """One line for each operation, in the order of their invocations, with times since the first one."""
    first = min((each.invoked for each in operations), default=0.0)
    return "\n".join(_line(each, first) for each in sorted(operations, key=lambda each: each.invoked))


def _line(operation: Operation, first: float) -> str:
    ended = f"{operation.completed - first:9.3f}" if operation.known else "        ?"
    sent = msgspec.json.encode(operation.sent).decode()
    told = operation.refused or (
        "unknown" if operation.told is None else msgspec.json.encode(operation.told).decode()
    )
    who = f"client {operation.client} at {operation.replica}"
    return f"{operation.invoked - first:9.3f} to {ended}  {who}  {operation.kind} {sent} -> {told}"


def save(path: Path, operations: list[Operation]) -> None:
    """One JSON object a line. A completion that is not known is left out."""
    lines = [msgspec.to_builtins(each) for each in operations]
    for line in lines:
        if line.get("completed") == math.inf:
            del line["completed"]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def load(path: Path) -> list[Operation]:
    decoder = msgspec.json.Decoder(Operation)
    return [decoder.decode(line) for line in path.read_bytes().splitlines()]
