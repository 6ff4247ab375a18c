"""Webhooks of a project and their deliveries.

All commands need the scope admin, since a webhook keeps sending after the key that created it is revoked.
"""

import secrets
import uuid
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from runstead.commands.access import Access, needs
from runstead.commands.count_guard import at_most
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.errors import Error, existing, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Scope
from runstead.core.secret import WEBHOOK_OLD_SECRET, WEBHOOK_SECRET
from runstead.core.webhooks import webhook as rules
from runstead.core.webhooks.body import BodyFormat
from runstead.core.webhooks.event import new_test_delivery
from runstead.core.webhooks.webhook import Delivery, DeliveryStatus, Webhook, refuse_disabled
from runstead.security.stored_secrets import StoredSecrets

_BOUND: Final = "cannot manage webhooks"


def new_secret() -> str:
    """Return a random signing secret."""
    return rules.secret_of(secrets.token_bytes(32))


@needs(Scope.ADMIN, bound=_BOUND, records="webhook.create")
async def create(
    access: Access,
    url: str,
    events: Sequence[str],
    secret: str,
    idempotency: Idempotency = None,
    *,
    body_format: BodyFormat = "standard",
) -> Webhook:
    """Create a webhook for events from now on. Raises INVALID_REQUEST, NOT_FOUND, WEBHOOK_LIMIT_REACHED."""
    app, project_id = access.app, access.project_id
    app.egress.check_member("url", url)
    rules.check_secret(secret)
    now = now_ms()
    webhook_id = str(uuid.uuid4())
    webhook = Webhook(
        id=webhook_id,
        project_id=project_id,
        url=url,
        events=tuple(dict.fromkeys(events)),
        secret=app.secrets.encrypt(WEBHOOK_SECRET, webhook_id, secret),
        created_at=now,
        updated_at=now,
        created_by=access.user,
        format=body_format,
    )
    guard = at_most(limits.webhooks_per_project_max, "webhooks", "WEBHOOK_LIMIT_REACHED")
    created = await access.recording.webhooks.create(webhook, guard, idempotency)
    app.webhook_projects.add(project_id)
    return created


@needs(Scope.ADMIN, bound=_BOUND)
async def page(access: Access) -> list[Webhook]:
    """List the project's webhooks, oldest first."""
    return await access.store.webhooks.page(access.project_id, limits.webhooks_per_project_max)


@needs(Scope.ADMIN, bound=_BOUND)
async def get(access: Access, webhook_id: str) -> Webhook:
    """Return a webhook. Raises NOT_FOUND."""
    return await _stored(access, webhook_id)


async def _stored(access: Access, webhook_id: str) -> Webhook:
    return existing(await access.store.webhooks.get(access.project_id, webhook_id), "Webhook")


@needs(Scope.ADMIN, bound=_BOUND, records="webhook.change")
async def change(
    access: Access,
    webhook_id: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    enabled: bool | None = None,
    idempotency: Idempotency = None,
) -> Webhook:
    """Change the members that are not None. Pending deliveries go to the new URL.

    Raises INVALID_REQUEST, NOT_FOUND.
    """
    app, project_id = access.app, access.project_id
    if url is not None:
        app.egress.check_member("url", url)
    if events is not None:
        events = tuple(dict.fromkeys(events))

    def decide(webhook: Webhook, now: int) -> Webhook:
        return rules.changed(webhook, url=url, events=events, enabled=enabled, now=now)

    found = await access.recording.webhooks.change(project_id, webhook_id, decide, idempotency)
    if found.disabled_at is None:
        app.webhook_projects.add(project_id)
        app.publish_deliveries()
    return found


@needs(Scope.ADMIN, bound=_BOUND, records="webhook.rotate")
async def rotate(access: Access, webhook_id: str, secret: str, idempotency: Idempotency = None) -> Webhook:
    """Replace the signing secret.

    For `limits.webhook_old_secret_ms`, deliveries are signed with the old one too.

    Raises INVALID_REQUEST, NOT_FOUND, ENCRYPTION_KEY_MISSING.
    """
    secrets = access.app.secrets
    rules.check_secret(secret)

    def decide(webhook: Webhook, now: int) -> Webhook:
        try:
            opened = decrypted(secrets, webhook)
        except Error:  # its encryption key is lost: only the new secret signs
            changed = rules.rotated(replace(webhook, secret=""), secret, now)
            return _converted(secrets.encrypt, replace(changed, old_secret=None, old_secret_until=None))
        changed = rules.rotated(opened, secret, now)
        return webhook if changed is opened else _converted(secrets.encrypt, changed)

    return await access.recording.webhooks.change(access.project_id, webhook_id, decide, idempotency)


def decrypted(secrets: StoredSecrets, webhook: Webhook) -> Webhook:
    """Return a webhook with its secrets in plain text. Raises ENCRYPTION_KEY_MISSING."""
    return _converted(secrets.decrypt, webhook)


def _converted(convert: Callable[[str, str, str], str], webhook: Webhook) -> Webhook:
    """Return a webhook whose secrets are encrypted or decrypted. `convert` gets (place, id, secret)."""
    old = webhook.old_secret
    return replace(
        webhook,
        secret=convert(WEBHOOK_SECRET, webhook.id, webhook.secret),
        old_secret=None if old is None else convert(WEBHOOK_OLD_SECRET, webhook.id, old),
    )


@needs(Scope.ADMIN, bound=_BOUND, records="webhook.delete")
async def delete(access: Access, webhook_id: str) -> None:
    """Delete a webhook with its deliveries. Pending ones are not sent. Raises NOT_FOUND."""
    if not await access.recording.webhooks.delete(access.project_id, webhook_id):
        raise not_found("Webhook")


@needs(Scope.ADMIN, bound=_BOUND)
async def send_test(access: Access, webhook_id: str, idempotency: Idempotency = None) -> Delivery:
    """Send a `webhook.test`, whatever events the webhook receives. Raises NOT_FOUND, WEBHOOK_DISABLED."""
    delivery_id = f"msg_{uuid.uuid4()}"

    def decide(webhook: Webhook, now: int) -> Delivery:
        refuse_disabled(webhook)
        return new_test_delivery(delivery_id, webhook, now)

    created = await access.store.webhooks.add(access.project_id, webhook_id, decide, idempotency)
    access.app.publish_deliveries()
    return created


@needs(Scope.ADMIN, bound=_BOUND)
async def deliveries(
    access: Access, webhook_id: str, limit: int, before: int | None, status: DeliveryStatus | None
) -> list[Delivery]:
    """List deliveries that were sent or are pending, newest first."""
    webhook = await _stored(access, webhook_id)
    return await access.store.webhooks.deliveries(webhook.project_id, webhook.id, limit, before, status)


@needs(Scope.ADMIN, bound=_BOUND)
async def delivery(access: Access, webhook_id: str, delivery_id: str) -> tuple[Webhook, Delivery]:
    """Return a delivery with its payload, and its webhook. Raises NOT_FOUND."""
    webhook = await _stored(access, webhook_id)
    found = await access.store.webhooks.delivery(webhook.project_id, webhook.id, delivery_id)
    return webhook, existing(found, "Delivery")


@needs(Scope.ADMIN, bound=_BOUND)
async def redeliver(
    access: Access, webhook_id: str, delivery_id: str, idempotency: Idempotency = None
) -> tuple[Webhook, Delivery]:
    """Send a delivery again under the same id. Raises NOT_FOUND, WEBHOOK_DISABLED."""
    pair = await access.store.webhooks.settle(
        access.project_id, webhook_id, delivery_id, rules.redeliver, idempotency
    )
    access.app.publish_deliveries()
    return pair
