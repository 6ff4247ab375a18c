"""What a worker and a handler in a process of its own say to each other. JSON travels as the bytes it is."""

from typing import Final, Literal

import msgspec

from runstead.sdk.durable.suspension import WaitRequest

#: What the worker reads at once. A larger frame breaks the conversation off.
FRAME_BYTES_MAX: Final = 256 * 1024 * 1024


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    pass


# From the worker


class StartRun(_Message, frozen=True):
    """Serve this run. `history` is a list of events, `answered` names waits that were ended by hand; `exact_path` whether `sys_path` is the whole of it."""

    app: str
    target: str
    run: bytes
    history: bytes
    rounds: int
    sys_path: list[str]
    argv: list[str]
    exact_path: bool
    answered: list[str]
    memory_mb: int | None = None
    cpu_seconds: int | None = None


class CallResult(_Message, frozen=True):
    number: int
    content: bytes | None = None


class CallFailed(_Message, frozen=True):
    """`lost`: the run is not this worker's any more. `status` 0: the worker itself could not do it."""

    number: int
    detail: str
    lost: bool = False
    status: int = 0
    code: str | None = None
    errors: bytes = b"[]"
    retry_after_s: float | None = None


# From the handler


class EmitEvent(_Message, frozen=True):
    event: bytes


class LogLine(_Message, frozen=True):
    line: str


class CompletionData(_Message, frozen=True):
    """What goes out with the completion."""

    metadata: bytes
    artifacts: bytes
    exit_code: int | None = None


class Flush(_Message, frozen=True):
    number: int


class SendCall(_Message, frozen=True):
    """Send a call, and answer what it was answered."""

    number: int
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    query: list[tuple[str, str]]
    content: bytes | None
    is_upload: bool
    headers: dict[str, str]
    idempotency_key: str | None
    repeatable: bool
    extra_wait_s: float
    owner: str | None


class Suspended(_Message, frozen=True):
    """The run has to wait: this try is over."""

    wanted: WaitRequest


class Returned(_Message, frozen=True):
    output: bytes


class Raised(_Message, frozen=True):
    """`outcome`: `declared` by RunFailed, an `error`, or a `lost` lease."""

    outcome: Literal["declared", "error", "lost"]
    message: str
    code: str | None
    detail: bytes
    step_id: str | None = None
    final: bool = False


FromWorker = StartRun | CallResult | CallFailed
FromHandler = EmitEvent | LogLine | CompletionData | Flush | SendCall | Suspended | Returned | Raised
#: What ends a conversation.
Outcome = Suspended | Returned | Raised
