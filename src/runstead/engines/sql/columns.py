"""How records stand in tables, for the engines that speak SQL: which columns, in which order, and what they hold."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import astuple

from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import ClosedInput, InputRequest, InputResponse
from runstead.core.identity.browser_session import SESSION_FIELDS
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import ApiKey, Member, Project
from runstead.core.queue.push_service import PushService, is_active
from runstead.core.queue.worker import HeldRun, Session, Worker
from runstead.core.replica import REPLICA_FIELDS
from runstead.core.runs.run import RunStatus
from runstead.core.schedules.schedule import SCHEDULE_FIELDS
from runstead.core.usage.price import PRICE_FIELDS
from runstead.core.webhooks.webhook import WEBHOOK_FIELDS, Webhook
from runstead.engines.sql.run_terms import FACTS

_ASKED: Final = tuple(name for name in InputRequest.__struct_fields__ if name != "response")
_RESPONSE: Final = (
    "response_id",
    "actor_type",
    "actor_id",
    "response_values",
    "withheld",
    "digest",
    "responded_at",
)
_SERVICE: Final = (
    "id",
    "registrant",
    "service_key",
    "service_name",
    "scope_kind",
    "base_url",
    "invoke_url",
    "project_id",
    "agent_id",
    "version",
    "runtime",
    "region",
    "capabilities",
    "metadata",
    "created_at",
    "updated_at",
    "last_heartbeat_at",
    "disabled_at",
)
_WRITTEN_BY_THE_STORE: Final = 4

#: Words of statements: the columns of a record in the order of its fields.
WORDS: Final = {
    "project": ", ".join(Project.__struct_fields__),
    "browser_session": ", ".join(SESSION_FIELDS),
    "price": ", ".join(PRICE_FIELDS),
    "replica": ", ".join(REPLICA_FIELDS),
    "member": ", ".join(Member.__struct_fields__),
    "key": ", ".join(ApiKey.__struct_fields__),
    "worker": ", ".join(Worker.__struct_fields__),
    "session": ", ".join(Session.__struct_fields__),
    "conversation": ", ".join(Conversation.__struct_fields__),
    "message": ", ".join(StoredMessage.__struct_fields__),
    "schedule": ", ".join(SCHEDULE_FIELDS),
    "request": ", ".join((*_ASKED, *_RESPONSE)),
    "service": ", ".join(_SERVICE),
    "indexed": ", ".join(FACTS),
}


def to_key(row: Sequence[Any]) -> ApiKey:
    identity, project_id, prefix, digest, scopes, *others = row
    return ApiKey(identity, project_id, prefix, digest, frozenset(map(Scope, scopes.split())), *others)


def from_key(key: ApiKey) -> list[Any]:
    identity, project_id, prefix, digest, scopes, *others = astuple(key)
    return [identity, project_id, prefix, digest, " ".join(sorted(scopes)), *others]


def to_request(row: Sequence[Any]) -> InputRequest:
    asked, response = row[: len(_ASKED)], row[len(_ASKED) :]
    return InputRequest(*(*asked, None if response[0] is None else InputResponse(*response)))


def from_request(request: InputRequest) -> list[Any]:
    """A request that is open."""
    return [getattr(request, name) for name in _ASKED if name not in {"seq", "ended_at"}]


def from_closed(closed: ClosedInput) -> list[Any]:
    response = (None,) * len(_RESPONSE) if closed.response is None else astuple(closed.response)
    return [closed.id, closed.status, closed.at, *response]


def to_service(row: Sequence[Any], reach: Iterable[str], now: int) -> PushService:
    named = dict(zip(_SERVICE, row, strict=True))
    active = is_active(named["disabled_at"], named["last_heartbeat_at"], now)
    return PushService(**named, reach=tuple(reach), active=active)


def from_service(service: PushService) -> list[Any]:
    """What a registration says of it."""
    return [getattr(service, name) for name in _SERVICE[:-_WRITTEN_BY_THE_STORE]]


def from_session(run_seq: int, session: Session, now: int) -> list[Any]:
    return [
        run_seq,
        session.worker_id,
        session.id,
        session.run_id,
        session.implementation_kind,
        session.session_key,
        session.status,
        now,
        now,
        session.metadata,
        None if session.status == "active" else now,
    ]


def to_held(row: Sequence[Any]) -> HeldRun:
    owner, run_id, title, target, status, *others = row
    return HeldRun(owner, run_id, title, target, RunStatus(status), *others)


def to_webhook(row: Sequence[Any]) -> Webhook:
    named = dict(zip(WEBHOOK_FIELDS, row, strict=True))
    return Webhook(**(named | {"events": tuple(named["events"].split())}))


def from_webhook(webhook: Webhook) -> list[Any]:
    return [_value(webhook, name) for name in WEBHOOK_FIELDS]


def changes(old: Struct, new: Struct) -> dict[str, Any]:
    """Column → value, of what differs between two rows of one kind whose fields are its columns."""
    names = (name for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name))
    return {name: _value(new, name) for name in names}


def _value(record: Struct, name: str) -> Any:
    value = getattr(record, name)
    return " ".join(value) if isinstance(value, tuple) else value
