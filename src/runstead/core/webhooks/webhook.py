"""Webhooks: where a project's events are sent, and the deliveries to them. Times are ms since 1970 UTC."""

import base64
import binascii
import hashlib
import hmac
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error, invalid_at
from runstead.core.webhooks.body import BodyFormat, Message

DeliveryStatus = Literal["pending", "delivered", "failed"]
_PREFIX: Final = "whsec_"


class Webhook(msgspec.Struct, frozen=True):
    """One webhook as a row of the store. `secret` is `whsec_<base64>`. The server signs
    with it, so the row holds it as `security.stored_secrets` encrypts it, and not as a hash.

    `events` are names of `webhooks.event.EVENT_TYPES`, or `*`. `failing_since` is the first failure since the
    last successful delivery. Until `old_secret_until`, `old_secret` signs too. `failed_deliveries` counts those that
    were given up. Engines store the fields as columns.
    """

    id: str
    project_id: str
    url: str
    events: tuple[str, ...]
    secret: str
    created_at: int
    updated_at: int
    created_by: str | None = None
    disabled_at: int | None = None
    disabled_reason: str | None = None
    failing_since: int | None = None
    old_secret: str | None = None
    old_secret_until: int | None = None
    format: BodyFormat = "standard"
    failed_deliveries: int = 0

    def wants(self, event_type: str) -> bool:
        return self.disabled_at is None and ("*" in self.events or event_type in self.events)


class Delivery(msgspec.Struct, frozen=True):
    """One event for one webhook, as a row of the store. `payload` is the body, fixed when the delivery was
    created.

    `next_attempt_at` is set while the delivery is pending; during an attempt it is the end of the attempt's
    lease. `attempts` counts started attempts and is also the fence: only the latest attempt can change the
    delivery. No attempt starts after `expires_at`. `seq` is the order of creation (0: not stored yet).
    """

    id: str
    webhook_id: str
    project_id: str
    event_type: str
    run_id: str | None
    created_at: int
    expires_at: int
    payload: bytes
    seq: int = 0
    status: DeliveryStatus = "pending"
    next_attempt_at: int | None = None
    attempts: int = 0
    last_status: int | None = None
    last_error: str | None = None
    delivered_at: int | None = None
    duration_ms: int | None = None


Pair = tuple[Webhook, Delivery]
DecidePair = Callable[[Webhook, Delivery, int], Pair]
"""(webhook, delivery, now) → both with their changes; the same objects if nothing changes."""


class Attempt(msgspec.Struct, frozen=True):
    """The outcome of an attempt.

    `reason` is None if it was successful. `gone`: the receiver answered 410 Gone.
    """

    number: int
    reason: str | None = None
    status: int | None = None
    duration_ms: int = 0
    retry_after_ms: int | None = None
    gone: bool = False


def new_delivery(
    delivery_id: str, webhook: Webhook, event_type: str, run_id: str | None, payload: bytes, now: int
) -> Delivery:
    return Delivery(
        delivery_id,
        webhook.id,
        webhook.project_id,
        event_type,
        run_id,
        created_at=now,
        expires_at=now + limits.delivery_ms_max,
        payload=payload,
        next_attempt_at=now,
    )


def addressed(
    message: Message, receivers: Iterable[Webhook], name: str, run_id: str | None = None
) -> list[Delivery]:
    """Create a delivery of a message for each receiver. Their ids are derived from `name`, which identifies the event, so
    that an event never creates two deliveries for a webhook.
    """
    made = []
    for webhook in receivers:
        delivery_id = f"msg_{uuid.uuid5(uuid.UUID(webhook.id), name)}"
        body = message.body(webhook.format, delivery_id)
        made.append(new_delivery(delivery_id, webhook, message.type, run_id, body, message.at))
    return made


def backoff_ms(attempts: int, dice: float) -> int:
    """Return the delay after the n-th failed attempt, in ms: 5 s, tripled each time, at most 3 h. `dice` in
    [0, 1) spreads it over the upper half of the step.
    """
    tripled: int = limits.delivery_backoff_ms_first * 3 ** min(max(attempts - 1, 0), 20)
    step = min(tripled, limits.delivery_backoff_ms_max)
    return round(step / 2 + step / 2 * dice)


def record_attempt(webhook: Webhook, delivery: Delivery, attempt: Attempt, now: int, dice: float) -> Pair:
    """Return webhook and delivery after an attempt. Nothing changes if a newer attempt was started or the
    delivery has ended.
    """
    if delivery.status != "pending" or delivery.attempts != attempt.number:
        return webhook, delivery
    if webhook.old_secret_until is not None and webhook.old_secret_until <= now:
        webhook = replace(webhook, old_secret=None, old_secret_until=None)
    changed_delivery = replace(
        delivery, last_status=attempt.status, last_error=attempt.reason, duration_ms=attempt.duration_ms
    )
    if attempt.reason is None:
        if webhook.failing_since is not None:
            webhook = replace(webhook, failing_since=None)
        return webhook, replace(changed_delivery, status="delivered", delivered_at=now, next_attempt_at=None)
    since = now if webhook.failing_since is None else webhook.failing_since
    if webhook.failing_since is None:
        webhook = replace(webhook, failing_since=now)
    given_up = replace(webhook, failed_deliveries=webhook.failed_deliveries + 1)
    if attempt.gone:
        reason = "The receiver answered 410 Gone: it wants no more deliveries"
        return _disabled(given_up, reason, now), replace(
            changed_delivery, status="failed", next_attempt_at=None
        )
    wait = max(
        backoff_ms(delivery.attempts, dice), min(attempt.retry_after_ms or 0, limits.delivery_backoff_ms_max)
    )
    if now + wait <= delivery.expires_at:
        return webhook, replace(changed_delivery, next_attempt_at=now + wait)
    if now - since >= limits.webhook_failing_ms_max:
        days = limits.webhook_failing_ms_max // 86_400_000
        given_up = _disabled(
            given_up, f"No delivery arrived for {days} days; the last attempt: {attempt.reason}", now
        )
    return given_up, replace(changed_delivery, status="failed", next_attempt_at=None)


def _disabled(webhook: Webhook, reason: str, now: int) -> Webhook:
    if webhook.disabled_at is not None:
        return webhook
    return replace(webhook, disabled_at=now, disabled_reason=reason, updated_at=max(webhook.updated_at, now))


def redeliver(webhook: Webhook, delivery: Delivery, now: int) -> Pair:
    """Send a delivery again, whatever its status. It is tried as long as a new delivery. WEBHOOK_DISABLED."""
    refuse_disabled(webhook)
    return webhook, replace(
        delivery,
        status="pending",
        next_attempt_at=now,
        expires_at=now + limits.delivery_ms_max,
        delivered_at=None,
    )


def refuse_disabled(webhook: Webhook) -> None:
    if webhook.disabled_at is not None:
        raise Error("WEBHOOK_DISABLED", "The webhook is disabled and sends nothing: enable it first")


def changed(
    webhook: Webhook, *, url: str | None, events: Sequence[str] | None, enabled: bool | None, now: int
) -> Webhook:
    """Return the row with the given changes; None leaves a member unchanged. Enabling clears the failures."""
    changes: dict[str, object] = {}
    if url is not None:
        changes["url"] = url
    if events is not None:
        changes["events"] = tuple(events)
    if enabled is True and webhook.disabled_at is not None:
        changes |= {"disabled_at": None, "disabled_reason": None, "failing_since": None}
    if enabled is False and webhook.disabled_at is None:
        changes |= {"disabled_at": now, "disabled_reason": "Disabled by a caller"}
    return replace(webhook, updated_at=max(webhook.updated_at, now), **changes) if changes else webhook


def rotated(webhook: Webhook, secret: str, now: int) -> Webhook:
    """Return the row with a new secret. The previous secret signs for `limits.webhook_old_secret_ms` too; an
    older one no longer signs. The same secret again changes nothing.
    """
    if secret == webhook.secret:
        return webhook
    return replace(
        webhook,
        secret=secret,
        old_secret=webhook.secret,
        old_secret_until=now + limits.webhook_old_secret_ms,
        updated_at=max(webhook.updated_at, now),
    )


def check_secret(secret: str) -> None:
    """INVALID_REQUEST if it is not a secret of Standard Webhooks."""
    key = b""
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if not limits.webhook_secret_bytes_min <= len(key) <= limits.webhook_secret_bytes_max:
        sentence = (
            f"secret must be whsec_ and the base64 of {limits.webhook_secret_bytes_min} to"
            f" {limits.webhook_secret_bytes_max} random bytes; leave it out to get a new secret"
        )
        raise invalid_at("$.secret", "not a secret of Standard Webhooks", sentence)


def secret_of(key: bytes) -> str:
    return _PREFIX + base64.b64encode(key).decode()


def signatures(webhook: Webhook, message_id: str, timestamp_s: int, body: bytes, now: int) -> str:
    """Return the header `webhook-signature` of Standard Webhooks: one signature for each secret that is valid
    at `now` (ms), separated by blanks.
    """
    secrets = [webhook.secret]
    until = webhook.old_secret_until
    if webhook.old_secret is not None and until is not None and now < until:
        secrets.append(webhook.old_secret)
    return " ".join(signature(secret, message_id, timestamp_s, body) for secret in secrets)


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return one signature: HMAC-SHA256 over `<id>.<timestamp>.<body>`."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    mac = hmac.new(key, f"{message_id}.{timestamp_s}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"
