"""The rules of webhooks, without a store and a network: events, retries, failures and signatures."""

import base64
import hmac
import json

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.run import Run, RunStatus
from runstead.core.webhooks.event import EVENT_TYPES, deliveries, event_of
from runstead.core.webhooks.webhook import (
    Attempt,
    Webhook,
    backoff_ms,
    changed,
    check_secret,
    new_delivery,
    record_attempt,
    redeliver,
    rotated,
    secret_of,
    signature,
    signatures,
)

NOON = 1_774_008_000_000
SECRET = secret_of(bytes(range(32)))
HOOK = "11111111-1111-4111-8111-111111111111"


def webhook(**fields):
    given_ = {"id": HOOK, "project_id": "p", "url": "https://a.test", "events": ("*",), "secret": SECRET}
    return Webhook(**(given_ | {"created_at": NOON, "updated_at": NOON} | fields))


def delivery(hook, attempts=1):
    made = new_delivery("msg_1", hook, "run.completed", "run_1", b"{}", NOON)
    return replace(made, attempts=attempts)


def run(status="running", **fields):
    given_ = {"uid": "u", "project_id": "p", "run_id": "run_1", "kind": "task", "owner_kind": "project"}
    given_ |= {"owner_id": "p", "root_run_id": "run_1", "created_at": NOON, "updated_at": NOON}
    return Run(status=RunStatus(status), **(given_ | fields))


def failure(number=1, **members):
    return Attempt(number, **({"reason": "it answered 500", "status": 500} | members))


@pytest.mark.parametrize(
    ("before", "after", "event"),
    [
        ("pending", "running", "run.started"),
        ("running", "waiting", "run.waiting"),
        ("running", "completed", "run.completed"),
        ("waiting", "failed", "run.failed"),
        ("pending", "cancelled", "run.cancelled"),
        (None, "running", "run.started"),
        (None, "pending", None),
        ("running", "pending", None),
        ("waiting", "running", None),
        ("waiting", "pending", None),
        ("running", "running", None),
    ],
)
def test_an_event_is_a_change_of_status(before, after, event):
    assert event_of(None if before is None else run(before), run(after)) == event


def test_both_secrets_sign_for_a_day_and_then_only_the_new_one():
    old, new = webhook(), secret_of(b"n" * 32)
    hook = rotated(old, new, NOON)
    both = [signature(secret, "msg_1", 5, b"{}") for secret in (new, SECRET)]
    end = NOON + limits.webhook_old_secret_ms
    for now in (NOON, end - 1):
        assert signatures(hook, "msg_1", 5, b"{}", now).split(" ") == both
    assert signatures(hook, "msg_1", 5, b"{}", end) == both[0]
    assert signatures(old, "msg_1", 5, b"{}", NOON) == both[1]


def test_rotating_again_ends_the_oldest_secret_and_the_same_secret_changes_nothing():
    second, third = secret_of(b"2" * 32), secret_of(b"3" * 32)
    hook = rotated(webhook(), second, NOON)
    assert rotated(hook, second, NOON + 5) is hook
    again_ = rotated(hook, third, NOON + 5)
    assert (again_.secret, again_.old_secret) == (third, second)
    assert again_.old_secret_until == NOON + 5 + limits.webhook_old_secret_ms


def test_only_subscribed_webhooks_get_an_event_and_each_change_once():
    hooks = [webhook(events=("run.failed",)), webhook(id=HOOK.replace("1", "2"))]
    hooks.append(webhook(id=HOOK.replace("1", "3"), disabled_at=NOON))
    first, again_ = (deliveries(run("completed", version=7), "run.completed", hooks, NOON) for _ in range(2))
    assert [one.webhook_id for one in first] == [hooks[1].id]
    assert first == again_
    (other,) = deliveries(run("completed", version=8), "run.completed", hooks, NOON)
    assert other.id != first[0].id


def test_an_event_has_the_run_after_the_change_without_large_values():
    large = json.dumps("x" * limits.webhook_value_bytes_max).encode()
    ended = run("completed", output=large, metadata=b'{"inputTokens":1}', completed_at=NOON)
    (made,) = deliveries(ended, "run.completed", [webhook()], NOON)
    body = json.loads(made.payload)
    assert (body["type"], body["timestamp"]) == ("run.completed", "2026-03-20T12:00:00.000Z")
    data = body["data"]
    assert (data["run_id"], data["status"], data["metadata"]) == ("run_1", "completed", {"inputTokens": 1})
    assert (data["output"], data["omitted"]) == (None, ["output"])


@given(attempts=st.integers(1, 10_000), dice=st.floats(0, 1, exclude_max=True))
def test_every_pause_lies_between_half_its_step_and_three_hours(attempts, dice):
    assert backoff_ms(attempts, 0) <= backoff_ms(attempts, dice) <= limits.delivery_backoff_ms_max
    assert backoff_ms(attempts, 0) >= limits.delivery_backoff_ms_first / 2


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 10**9) | st.none())))
def test_a_delivery_that_always_fails_ends_within_a_day(builder):
    hook, one, now = webhook(), delivery(webhook(), 0), NOON
    for dice, retry_after_ms in builder:
        if one.status != "pending":
            break
        now = one.next_attempt_at
        assert NOON <= now <= one.expires_at
        one = replace(one, attempts=one.attempts + 1)
        hook, one = record_attempt(hook, one, failure(one.attempts, retry_after_ms=retry_after_ms), now, dice)
        assert (one.next_attempt_at is None) == (one.status == "failed")
    assert hook.failing_since == (NOON if builder else None)
    assert hook.disabled_at is None


def test_a_day_holds_as_many_attempts_as_the_guide_says():
    counts = set()
    for dice in (0.0, 0.999):
        hook, one = webhook(), delivery(webhook(), 0)
        while one.status == "pending":
            one = replace(one, attempts=one.attempts + 1)
            hook, one = record_attempt(hook, one, failure(one.attempts), one.next_attempt_at, dice)
        counts.add(one.attempts)
    assert counts == {15, 23}


def test_a_successful_delivery_clears_the_failures():
    hook, one = record_attempt(webhook(), delivery(webhook()), failure(), NOON, 0)
    assert (hook.failing_since, one.last_error, one.last_status) == (NOON, "it answered 500", 500)
    hook, one = record_attempt(hook, one, Attempt(1, status=204, duration_ms=12), NOON + 9, 0)
    assert (one.status, one.delivered_at, one.next_attempt_at) == ("delivered", NOON + 9, None)
    assert (one.last_error, one.last_status, one.duration_ms) == (None, 204, 12)
    assert hook == webhook()


def test_the_answer_gone_disables_the_webhook_at_once():
    hook, one = record_attempt(webhook(), delivery(webhook()), failure(status=410, gone=True), NOON, 0)
    assert (one.status, hook.disabled_at) == ("failed", NOON)
    assert "410" in hook.disabled_reason


def test_after_three_days_of_failures_the_next_failed_delivery_disables_the_webhook():
    late = NOON + limits.webhook_failing_ms_max
    hook = webhook(failing_since=NOON)
    lost = replace(delivery(hook), expires_at=late)
    shown, one = record_attempt(hook, lost, failure(), late, 0)
    assert (one.status, shown.disabled_at) == ("failed", late)
    assert "3 days" in shown.disabled_reason
    assert "it answered 500" in shown.disabled_reason
    shown, one = record_attempt(
        hook, replace(lost, expires_at=late + limits.delivery_ms_max), failure(), late, 0
    )
    assert (one.status, shown.disabled_at) == ("pending", None)
    shown, one = record_attempt(replace(hook, failing_since=NOON + 1), lost, failure(), late, 0)
    assert (one.status, shown.disabled_at) == ("failed", None)


def test_an_outdated_attempt_changes_nothing():
    hook, one = webhook(), delivery(webhook(), attempts=2)
    assert record_attempt(hook, one, failure(1), NOON, 0) == (hook, one)
    done = replace(one, status="delivered")
    assert record_attempt(hook, done, failure(2), NOON, 0) == (hook, done)


def test_a_retry_after_is_respected_up_to_the_longest_backoff():
    _, one = record_attempt(webhook(), delivery(webhook()), failure(retry_after_ms=60_000), NOON, 0)
    assert one.next_attempt_at == NOON + 60_000
    _, one = record_attempt(webhook(), delivery(webhook()), failure(retry_after_ms=10**9), NOON, 0)
    assert one.next_attempt_at == NOON + limits.delivery_backoff_ms_max
    _, one = record_attempt(webhook(), delivery(webhook()), failure(retry_after_ms=1), NOON, 0)
    assert one.next_attempt_at == NOON + limits.delivery_backoff_ms_first / 2


def test_a_redelivery_is_tried_for_another_day_but_not_while_disabled():
    hook, one = record_attempt(webhook(), delivery(webhook()), Attempt(1, status=200), NOON, 0)
    _, one = redeliver(hook, one, NOON + 5)
    assert (one.status, one.next_attempt_at) == ("pending", NOON + 5)
    assert (one.expires_at, one.delivered_at) == (NOON + 5 + limits.delivery_ms_max, None)
    with pytest.raises(Error) as caught:
        redeliver(webhook(disabled_at=NOON), one, NOON)
    assert caught.value.code == "WEBHOOK_DISABLED"


def test_members_of_a_webhook_change_separately_and_enabling_clears_the_failures():
    hook = webhook(disabled_at=NOON, disabled_reason="why", failing_since=NOON)
    assert changed(hook, url=None, events=None, enabled=None, now=NOON + 1) is hook
    on = changed(hook, url=None, events=None, enabled=True, now=NOON + 1)
    assert (on.disabled_at, on.disabled_reason, on.failing_since) == (None, None, None)
    off = changed(on, url="https://b.test", events=["run.failed"], enabled=False, now=NOON + 2)
    assert (off.url, off.events, off.disabled_at, off.updated_at) == (
        "https://b.test",
        ("run.failed",),
        NOON + 2,
        NOON + 2,
    )
    assert changed(off, url=None, events=None, enabled=False, now=NOON + 3).disabled_at == NOON + 2


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "plain",
        "whsec_!!!",
        secret_of(bytes(23)),
        secret_of(bytes(65)),
        secret_of(bytes(32))[6:],
    ],
)
def test_an_invalid_secret_is_refused_and_not_repeated_in_the_error(secret):
    with pytest.raises(Error) as caught:
        check_secret(secret)
    assert caught.value.code == "INVALID_REQUEST"
    assert not secret or secret == "whsec_" or secret not in str(caught.value)


@given(key=st.binary(min_size=24, max_size=64), body=st.binary(max_size=200), at=st.integers(0, 10**10))
def test_a_signature_follows_the_specification(key, body, at):
    """A second implementation from standardwebhooks.com: HMAC-SHA256 over `msg_id.timestamp.payload`, base64 after `v1,`."""
    secret = secret_of(key)
    check_secret(secret)
    signed = b"msg_1." + str(at).encode("ascii") + b"." + body
    expected = base64.standard_b64encode(hmac.digest(base64.b64decode(secret[6:]), signed, "sha256"))
    assert signature(secret, "msg_1", at, body) == "v1," + expected.decode()


def test_the_signature_of_the_specification_s_example_matches():
    """The test vector of the reference libraries."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert body == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_every_type_has_a_name_of_two_words():
    assert all(len(name.split(".")) == 2 for name in EVENT_TYPES)
