"""Triggers: addresses that start a run when they are called. Times are ms since 1970 UTC."""

import hashlib
import secrets
import uuid
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core.errors import Error
from runstead.core.runs.event_match import Match
from runstead.core.runs.flow import NO_FLOW, Flow
from runstead.core.runs.run import Kind, Run
from runstead.core.runs.signal import SignalName

_PREFIX: Final = "vft_"


class Trigger(msgspec.Struct, frozen=True):
    """One trigger as a row of the store. Only the SHA-256 of its token is stored, and
    its `secret` as `security.stored_secrets` encrypts it. `config` and `flow` are
    JSON text. Runs of an agent use the conversation `conversation_id`, or a new conversation each. An event `event_name`
    of the project's bus starts a run too, if its data matches `event_match` (JSON text).

    Engines store the fields as columns in this order.
    """

    id: str
    project_id: str
    name: str
    target: str
    token_hash: bytes
    created_at: int
    updated_at: int
    created_by: str | None = None
    disabled_at: int | None = None
    secret: str | None = None
    config: bytes | None = None
    conversation_id: str | None = None
    flow: bytes | None = None

    @property
    def flow_control(self) -> Flow:
        """The flow control of its runs."""
        return NO_FLOW if self.flow is None else msgspec.json.decode(self.flow, type=Flow)

    event_name: str | None = None
    event_match: bytes | None = None

    @property
    def kind(self) -> Kind:
        kind: Any = self.target.partition(":")[0]
        return kind  # type: ignore[no-any-return]


class TriggerEvent(msgspec.Struct, frozen=True):
    """An event of the bus that starts a run: by its name, and by values in its data at dotted paths."""

    name: SignalName
    match: Match | None = None

    @property
    def stored(self) -> tuple[str, bytes | None]:
        return self.name, msgspec.json.encode(self.match) if self.match else None


def new_token() -> str:
    return _PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def changed(
    trigger: Trigger,
    *,
    now: int,
    name: str | None = None,
    enabled: bool | None = None,
    token: bytes | None = None,
    event: TriggerEvent | None = None,
) -> Trigger:
    """Return the row with the given changes; None leaves a member unchanged."""
    changes: dict[str, object] = {}
    if name is not None and name != trigger.name:
        changes["name"] = name
    if enabled is not None and enabled == (trigger.disabled_at is not None):
        changes["disabled_at"] = None if enabled else now
    if token is not None:
        changes["token_hash"] = token
    if event is not None and event.stored != (trigger.event_name, trigger.event_match):
        changes["event_name"], changes["event_match"] = event.stored
    return replace(trigger, updated_at=max(trigger.updated_at, now), **changes) if changes else trigger


def run_id(trigger: Trigger, key: str | None) -> str:
    """Return the id of the run that a call starts. Calls with the same idempotency key get the same id."""
    return f"run_{uuid.uuid4() if key is None else uuid.uuid5(uuid.UUID(trigger.id), key)}"


def refuse_other_payload(existing: Run, payload: bytes | None) -> None:
    """IDEMPOTENCY_KEY_REUSED if the run of an idempotency key was started with another payload."""
    if existing.input != payload:
        raise Error(
            "IDEMPOTENCY_KEY_REUSED",
            "This key has started a run with another payload; use a new key for a new call",
        )
