"""The audit log: who changed what. Entries are stored in the transaction of the change.

A command names the actor and the action (`Audit`). The store compares the changed record before and after, and
`entries` builds what the log keeps of both.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

import msgspec

from runstead.core import limits
from runstead.core.alerts.alert import Alert
from runstead.core.batches.batch import Batch
from runstead.core.batches.bulk_job import BulkJob
from runstead.core.budgets.budget import Budget
from runstead.core.clock import iso
from runstead.core.identity.browser_session import BrowserSession
from runstead.core.identity.principal import Origin, Principal
from runstead.core.identity.project import ApiKey, Member, Project, RemovedMember
from runstead.core.identity.quota import BOUNDS, Quota
from runstead.core.queue.concurrency import ConcurrencyLimit
from runstead.core.queue.push_service import PushService
from runstead.core.queue.worker import Worker
from runstead.core.runs.run import Run
from runstead.core.schedules.schedule import Schedule
from runstead.core.schedules.trigger import Trigger
from runstead.core.usage.price import Price
from runstead.core.webhooks.webhook import Webhook

Action = Literal[
    "run.create",
    "run.resume",
    "run.cancel",
    "run.pause",
    "run.retry",
    "run.delete",
    "run.read_secrets",
    "batch.cancel",
    "batch.retry",
    "bulk.create",
    "bulk.cancel",
    "schedule.create",
    "schedule.change",
    "schedule.delete",
    "schedule.sync",
    "trigger.create",
    "trigger.change",
    "trigger.delete",
    "webhook.create",
    "webhook.change",
    "webhook.rotate",
    "webhook.delete",
    "alert.create",
    "alert.change",
    "alert.mute",
    "alert.unmute",
    "alert.delete",
    "budget.create",
    "budget.change",
    "budget.delete",
    "push_service.register",
    "push_service.disable",
    "push_service.enable",
    "push_service.delete",
    "worker.remove",
    "project.create",
    "project.change",
    "key.create",
    "key.change",
    "key.revoke",
    "member.put",
    "member.remove",
    "limit.put",
    "quota.put",
    "price.put",
    "price.delete",
    "session.create",
    "session.refuse",
    "session.end",
]
ACTIONS: Final[tuple[str, ...]] = get_args(Action)

#: The project of entries that belong to no project, such as a sign-in with an unknown key.
NO_PROJECT: Final = ""


class ObjectName(NamedTuple):
    """The object of an action: its kind, and its id (of a member the user id, of a limit the target)."""

    kind: str
    id: str


class AuditEntry(msgspec.Struct, frozen=True):
    """An entry as a row of the store, which numbers it (`seq`) and names it (`id`). `at` in ms.

    `change` is JSON text: {"before"?: {member: value}, "after"?: {member: value}}, with the members that differ.
    Engines store the fields as columns with these names.
    """

    project_id: str
    at: int
    actor_kind: str
    actor_id: str
    actor_name: str | None
    credential_id: str | None
    address: str | None
    request_id: str | None
    action: str
    object_kind: str
    object_id: str
    change: bytes | None = None
    id: str = ""
    seq: int = 0


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Who does what: a command passes it to the transaction of the change.

    The entry is stored in each of `projects`. `object` names the object if it is not the changed record.
    `details` are members of the action that no record has, such as the answer to an approval. `reads`: the action is
    recorded although it changes nothing.
    """

    action: Action
    actor_kind: str
    actor_id: str
    projects: tuple[str, ...]
    actor_name: str | None = None
    credential_id: str | None = None
    origin: Origin = Origin()
    object: ObjectName | None = None
    details: Mapping[str, Any] = {}
    reads: bool = False


def by(
    principal: Principal, action: Action, *projects: str, of: ObjectName | None = None, **details: Any
) -> Audit:
    """Return the audit of an action of this caller, for entries in `projects`. `of` is `Audit.object`."""
    return Audit(
        action=action,
        actor_kind=principal.kind,
        actor_id=principal.id,
        projects=projects,
        actor_name=principal.name,
        credential_id=principal.credential_id,
        origin=principal.origin,
        object=of,
        details=details,
    )


def entries(audit: Audit, before: Any, after: Any, now: int) -> list[AuditEntry]:
    """Build the entries of a change, one per project. `before` and `after` are the record, None if it does not exist.

    Without a visible difference there are none: the caller's request changed nothing, unless the audit `reads`. If both
    are None, the audit names its object. `now` in ms.
    """
    old, new = _differences(before, after)
    if not old and not new and not audit.reads and not (before is None and after is None and audit.object):
        return []
    name = audit.object or _name(before if after is None else after)
    return [
        AuditEntry(
            project_id=project_id,
            at=now,
            actor_kind=audit.actor_kind,
            actor_id=audit.actor_id,
            actor_name=audit.actor_name,
            credential_id=audit.credential_id,
            address=audit.origin.address,
            request_id=audit.origin.request_id,
            action=audit.action,
            object_kind=name.kind,
            object_id=name.id,
            change=_encoded(old, new | _details(audit)),
        )
        for project_id in audit.projects
    ]


def _details(audit: Audit) -> dict[str, Any]:
    return {name: _shown(name, value) for name, value in audit.details.items() if value is not None}


class _Kind(NamedTuple):
    """What the log keeps of a record: the name of its kind, its members, and how to get its id."""

    name: str
    members: tuple[str, ...]
    id_of: Callable[[Any], str]


def _kind(name: str, members: str, id_of: Callable[[Any], str] = attrgetter("id")) -> _Kind:
    """`members`: separated by spaces."""
    return _Kind(name, tuple(members.split()), id_of)


_KINDS: Final[dict[type, _Kind]] = {
    Run: _kind("run", "run_id status waiting_reason cancel_requested_at cancel_reason", attrgetter("run_id")),
    Batch: _kind("batch", "status cancel_reason"),
    BulkJob: _kind("bulk", "action status total from_step"),
    Schedule: _kind(
        "schedule",
        "name status target_kind target_id schedule run_at timezone concurrency_policy concurrency_key flow max_runs"
        " timeout_seconds backoff_limit max_staleness_seconds conversation_id config",
    ),
    Trigger: _kind(
        "trigger", "name target conversation_id event_name disabled_at token_hash secret config flow"
    ),
    Webhook: _kind("webhook", "url format events disabled_at secret"),
    Alert: _kind(
        "alert",
        "name kind target schedule_id threshold window_seconds min_runs for_seconds repeat_seconds webhook_id disabled_at"
        " muted_at muted_until",
    ),
    Budget: _kind(
        "budget", "name scope_kind scope_value period limit_tokens limit_micros on_reached alert_at_percent"
    ),
    PushService: _kind(
        "push_service", "service_name scope_kind agent_id version base_url invoke_url disabled_at"
    ),
    Worker: _kind("worker", "implementation_kind worker_key display_name"),
    Project: _kind("project", "slug name require_attempt search_values_since"),
    Quota: _kind("quota", " ".join(BOUNDS), attrgetter("project_id")),
    ApiKey: _kind("key", "prefix name scopes expires_at revoked_at requests_per_minute runs_per_minute"),
    Member: _kind("member", "role", attrgetter("user_id")),
    RemovedMember: _kind("member", "role removed_at", attrgetter("user_id")),
    ConcurrencyLimit: _kind(
        "limit", "max_running max_running_per_key rate", lambda limit: limit.target or "*"
    ),
    Price: _kind("price", "input output cached reasoning", lambda price: f"{price.provider}/{price.model}"),
    BrowserSession: _kind("session", "user_agent expires_at"),
}

#: Members that are or may hold secrets. The log shows that they changed, never their values.
_HIDDEN: Final = frozenset({"token_hash", "secret", "config"})
#: URLs often hold a secret in their path. The log keeps scheme and host.
_URLS: Final = frozenset({"url", "base_url", "invoke_url"})


def _name(record: Any) -> ObjectName:
    kind = _KINDS[type(record)]
    return ObjectName(kind.name, kind.id_of(record))


def _differences(before: Any, after: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the members that differ, before and after the change, as the log shows them."""
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    record = before if after is None else after
    if record is None or before is after:
        return old, new
    for member in _KINDS[type(record)].members:
        was, becomes = getattr(before, member, None), getattr(after, member, None)
        if was != becomes:
            if was is not None:
                old[member] = _shown(member, was)
            if becomes is not None:
                new[member] = _shown(member, becomes)
    return old, new


def _shown(member: str, value: Any) -> Any:
    if member in _HIDDEN:
        return "(hidden)"
    if member in _URLS:
        url = urlsplit(value)
        return _cut(f"{url.scheme}://{url.netloc.rpartition('@')[2]}")
    if isinstance(value, str):
        return _cut(value)
    if member.endswith(("_at", "_until")) and isinstance(value, int):
        return iso(value)
    if isinstance(value, tuple | frozenset):
        words = sorted(value) if isinstance(value, frozenset) else value
        return [_cut(str(word)) for word in words[: limits.audit_values_max]]
    return value


def _cut(text: str) -> str:
    most = limits.audit_value_chars_max
    return text if len(text) <= most else f"{text[:most]}…"


def _encoded(old: dict[str, Any], new: dict[str, Any]) -> bytes | None:
    change = {side: members for side, members in (("before", old), ("after", new)) if members}
    if not change:
        return None
    text = msgspec.json.encode(change)
    if len(text) > limits.audit_change_bytes_max:
        return msgspec.json.encode(
            {side: dict.fromkeys(members, "(too large)") for side, members in change.items()}
        )
    return text
