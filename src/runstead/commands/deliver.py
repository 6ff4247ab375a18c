"""Send webhook deliveries, signed as Standard Webhooks specifies. Called by a loop."""

import re
import time
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from runstead import __version__
from runstead.commands.app import App
from runstead.commands.runs import dice
from runstead.commands.webhooks import decrypted
from runstead.core import limits
from runstead.core.clock import now_ms, to_ms
from runstead.core.errors import Error
from runstead.core.queue.fair_share import FairShare
from runstead.core.webhooks.body import CONTENT_TYPES
from runstead.core.webhooks.webhook import Attempt, Delivery, Pair, Webhook, record_attempt, signatures
from runstead.security.egress import Answer, Egress, EgressError

Outcome = Literal["delivered", "retried", "failed", "disabled"]
_AGENT: Final = f"Runstead/{__version__}"


async def take(app: App, share: FairShare) -> list[Pair]:
    """Begin attempts of due deliveries. Returns what to send."""
    return await app.store.webhooks.take(share, limits.deliveries_per_webhook_max, limits.delivery_lease_ms)


async def deliver(app: App, egress: Egress, webhook: Webhook, delivery: Delivery) -> Outcome:
    """Send one attempt that `take` began, and store its outcome."""
    try:
        attempt = await _attempt(egress, decrypted(app.secrets, webhook), delivery)
    except Error as error:
        attempt = Attempt(delivery.attempts, f"The delivery could not be signed: {error.message}")

    def decide(known: Webhook, current: Delivery, now: int) -> Pair:
        return record_attempt(known, current, attempt, now, dice())

    hook, sent = await app.store.webhooks.settle(webhook.project_id, webhook.id, delivery.id, decide)
    if attempt.reason is None:
        return "delivered"
    if hook.disabled_at is not None and webhook.disabled_at is None:
        return "disabled"
    return "failed" if sent.status == "failed" else "retried"


async def _attempt(egress: Egress, webhook: Webhook, delivery: Delivery) -> Attempt:
    timestamp = int(time.time())
    assert delivery.next_attempt_at is not None
    # By the store's clock, like the time at which an old secret expires.
    started_at = delivery.next_attempt_at - limits.delivery_lease_ms
    headers = {
        "content-type": CONTENT_TYPES[webhook.format],
        "user-agent": _AGENT,
        "webhook-id": delivery.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures(webhook, delivery.id, timestamp, delivery.payload, started_at),
    }
    began = time.monotonic()
    try:
        answer = await egress.send(
            "POST",
            webhook.url,
            headers=headers,
            body=delivery.payload,
            total_s=limits.delivery_s_max,
            answer_bytes_max=limits.delivery_answer_bytes_max,
            cut=True,
        )
    except EgressError as error:
        reason = f"The receiver was not reached: {error}"
        return Attempt(delivery.attempts, reason, duration_ms=_ms_since(began))
    return judge(delivery.attempts, answer, _ms_since(began))


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def judge(number: int, answer: Answer, duration_ms: int) -> Attempt:
    """Convert the receiver's answer into an attempt. Any 2xx means delivered."""
    status = answer.status
    if 200 <= status < 300:
        return Attempt(number, None, status, duration_ms)
    reason = f"The receiver answered {status}"
    if 300 <= status < 400:
        reason += ": redirects are not followed"
    return Attempt(number, reason, status, duration_ms, _retry_after_ms(answer), gone=status == 410)


def _retry_after_ms(answer: Answer) -> int | None:
    """Parse Retry-After: seconds or a date (RFC 9110, 10.2.3). Anything else is ignored."""
    header = answer.headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,9}", header):
        return int(header) * 1000
    try:
        return max(to_ms(parsedate_to_datetime(header)) - now_ms(), 0)
    except (ValueError, OverflowError, AssertionError):
        return None
