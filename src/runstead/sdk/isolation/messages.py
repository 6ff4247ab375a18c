"""The messages between a worker and a handler's process. JSON values are passed as encoded bytes."""

from typing import Final, Literal

import msgspec

from runstead.sdk.durable.suspension import WaitRequest

#: A larger frame closes the connection.
FRAME_BYTES_MAX: Final = 256 * 1024 * 1024


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    pass


# From the worker


class StartRun(_Message, frozen=True):
    """Run the handler of a target.

    `history` is a list of events. `tries` counts the attempt's tries. `resumed` are call ids of waits that a client
    resumed without a result. `exact_path`: `sys_path` replaces the child's path instead of adding to it.
    """

    app: str
    target: str
    run: bytes
    history: bytes
    tries: int
    sys_path: list[str]
    argv: list[str]
    exact_path: bool
    resumed: list[str]
    memory_mb: int | None = None
    cpu_seconds: int | None = None


class CallResult(_Message, frozen=True):
    """The response to the `SendCall` or `Flush` of this number."""

    number: int
    content: bytes | None = None


class CallFailed(_Message, frozen=True):
    """The `SendCall` or `Flush` of this number failed.

    `lost`: the worker no longer has the run. `status` is 0 where the worker itself failed.
    """

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
    """The values that are sent with the completion."""

    metadata: bytes
    artifacts: bytes
    exit_code: int | None = None


class Flush(_Message, frozen=True):
    number: int


class AskCancelled(_Message, frozen=True):
    """Return `true` where the run was cancelled, and `false` where the handler is stopped for another reason."""

    number: int


#: The members that a `SendCall` has as its `Call`.
SAME: Final = ("method", "path", "idempotency_key", "repeatable", "extra_wait_s", "owner")


class SendCall(_Message, frozen=True):
    """Send a call to the server, and return the response."""

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
    """The run has to wait. This try has ended."""

    request: WaitRequest


class Returned(_Message, frozen=True):
    output: bytes


class Raised(_Message, frozen=True):
    """The handler raised: `declared` is RunFailed, `lost` is LeaseLostError, `error` any other exception."""

    outcome: Literal["declared", "error", "lost"]
    message: str
    code: str | None
    detail: bytes
    step_id: str | None = None
    block_step_id: str | None = None
    final: bool = False


FromWorker = StartRun | CallResult | CallFailed
FromHandler = (
    EmitEvent | LogLine | CompletionData | Flush | AskCancelled | SendCall | Suspended | Returned | Raised
)
#: The last message of a handler's process.
Outcome = Suspended | Returned | Raised
