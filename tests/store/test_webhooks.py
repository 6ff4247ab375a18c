"""Webhooks in every store: an event is stored with its change, and no two servers take the same delivery."""

import asyncio
import json
import uuid
from collections import Counter

import pytest
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.idempotency import ReplayedResponse
from runstead.core.queue.fair_share import FairShare
from runstead.core.webhooks.webhook import (
    Attempt,
    Webhook,
    new_delivery,
    record_attempt,
    redeliver,
    rotated,
    secret_of,
)

PROJECT = "11111111-1111-4111-8111-111111111111"
ELSEWHERE = "99999999-9999-4999-8999-999999999999"
LEASE_MS = 60_000


def anything(_count):
    """Accept any number."""


def webhook(**fields):
    given = {"id": str(uuid.uuid4()), "project_id": PROJECT, "url": "https://a.test/in", "events": ("*",)}
    given |= {"secret": secret_of(bytes(24)), "created_at": 5, "updated_at": 5}
    return Webhook(**(given | fields))


async def hooked(store, **fields):
    return await store.webhooks.create(webhook(**fields), anything)


async def delivered(store, hook, limit=100, **filters):
    """[(event type, run)] of what was written for a webhook, oldest first."""
    found = await store.webhooks.deliveries(hook.project_id, hook.id, limit, **filters)
    return [(one.event_type, one.run_id) for one in found][::-1]


async def take(store, limit=100, per_webhook=100, busy=(), **share):
    return await store.webhooks.take(FairShare(limit, busy=busy, **share), per_webhook, LEASE_MS)


async def settle(store, hook, delivery, reason=None, **members):
    attempt = Attempt(delivery.attempts, reason, **members)

    def decide(webhook, current, now):
        return record_attempt(webhook, current, attempt, now, 0.5)

    return await store.webhooks.settle(hook.project_id, hook.id, delivery.id, decide)


async def test_a_webhook_is_read_as_it_was_written(store):
    values = {name: f"the {name}" for name in Webhook.__struct_fields__} | {"project_id": PROJECT}
    values |= {"id": str(uuid.uuid4()), "events": ("run.failed", "run.completed")}
    values |= {
        name: 100 + n
        for n, name in enumerate(Webhook.__struct_fields__)
        if name.endswith(("_at", "_since", "_until"))
    }
    values |= {"format": "slack", "failed_deliveries": 7}
    mine = await hooked(store, **values)
    assert await store.webhooks.get(PROJECT, mine.id) == mine
    bare = await hooked(store)
    assert await store.webhooks.page(PROJECT, 10) == [bare, mine]
    assert await store.webhooks.page(PROJECT, 1) == [bare]
    assert await store.webhooks.get(ELSEWHERE, mine.id) is None
    assert await store.webhooks.page(ELSEWHERE, 10) == []


async def test_the_guard_counts_the_projects_webhooks_and_a_refusal_stores_nothing(store):
    counts = []
    await hooked(store, project_id=ELSEWHERE)
    await store.webhooks.create(webhook(), counts.append)

    def refuse(count):
        counts.append(count)
        raise Error("WEBHOOK_LIMIT_REACHED", "enough")

    with pytest.raises(Error):
        await store.webhooks.create(webhook(), refuse)
    assert counts == [0, 1]
    assert len(await store.webhooks.page(PROJECT, 10)) == 1


async def test_a_change_keeps_other_fields_and_a_repeat_is_replayed(store, idempotent):
    mine = await hooked(store)

    def rename(old, now):
        assert old == mine
        return replace(old, url="https://b.test", events=("run.failed",), updated_at=now)

    idempotency = idempotent(render=lambda hook: (200, hook.url.encode()))
    new = await store.webhooks.change(PROJECT, mine.id, rename, idempotency)
    assert await store.webhooks.get(PROJECT, mine.id) == new
    assert (new.url, new.secret) == ("https://b.test", mine.secret)
    with pytest.raises(ReplayedResponse) as replayed:
        await store.webhooks.change(PROJECT, mine.id, rename, idempotency)
    assert replayed.value.body == b"https://b.test"
    with pytest.raises(Error) as caught:
        await store.webhooks.change(ELSEWHERE, mine.id, rename)
    assert caught.value.code == "NOT_FOUND"


async def test_an_old_secret_is_kept_beside_the_new_one_until_an_attempt_comes_after_its_end(
    driver, store, clock
):
    mine = await hooked(store)
    new = secret_of(b"n" * 24)
    changed = await store.webhooks.change(PROJECT, mine.id, lambda old, now: rotated(old, new, now))
    assert (changed.secret, changed.old_secret) == (new, mine.secret)
    assert changed.old_secret_until == clock.now + limits.webhook_old_secret_ms
    await driver.create("a")
    await driver.complete("a")
    ((hook, delivery),) = await take(store)
    assert hook == changed
    clock.advance_ms(limits.webhook_old_secret_ms)
    await settle(store, mine, delivery, status=200)
    kept = await store.webhooks.get(PROJECT, mine.id)
    assert kept == replace(changed, old_secret=None, old_secret_until=None)


async def test_every_way_to_a_new_status_writes_its_event_with_it(driver, store, clock):
    mine = await hooked(store)
    for name in ("done", "waits", "dropped", "lost"):
        await driver.create(name, backoff_limit=0)
    assert await delivered(store, mine) == []
    await driver.claim(limit=4)
    await driver.wait("waits")
    await driver.resume("waits")
    await driver.complete("done")
    await driver.cancel("dropped")
    clock.advance_ms(60_001)
    await driver.enforce_deadlines()
    events = await delivered(store, mine)
    assert sorted(events[:4]) == [("run.started", name) for name in ("done", "dropped", "lost", "waits")]
    assert events[4:7] == [("run.waiting", "waits"), ("run.completed", "done"), ("run.cancelled", "dropped")]
    assert sorted(events[7:]) == [("run.failed", "lost"), ("run.failed", "waits")]


async def test_every_run_of_a_cancelled_family_is_delivered(driver, store):
    mine = await hooked(store, events=("run.cancelled",))
    await driver.create("top")
    await driver.create("below", parent="top")
    await driver.create("ended", parent="top")
    await driver.complete("ended")
    await driver.cancel("top")
    assert sorted(await delivered(store, mine)) == [("run.cancelled", "below"), ("run.cancelled", "top")]


async def test_what_leaves_the_status_alone_writes_nothing(driver, store, event, refusal):
    await driver.create("a")
    await driver.claim()
    mine = await hooked(store)
    await driver.append("a", event())
    await driver.renew("a")
    await driver.touch("a", title="new")
    await driver.complete("a")
    await driver.complete("a")
    await driver.complete("a", "failed")
    await driver.cancel("a")
    await refusal(driver.wait("a"))
    assert await delivered(store, mine) == [("run.completed", "a")]


async def test_a_refused_idempotency_record_rolls_back_the_event_and_the_change(driver, store, idempotent):
    mine = await hooked(store)
    await driver.create("a")

    def broken(_):
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        await driver.complete("a", idempotency=idempotent(render=broken))
    assert await delivered(store, mine) == []
    assert (await driver.row("a")).status == "pending"


async def test_only_enabled_webhooks_that_subscribe_get_deliveries(driver, store):
    asked = await hooked(store, events=("run.failed", "run.completed"))
    others = [
        await hooked(store, events=("run.cancelled",)),
        await hooked(store, disabled_at=1),
        await hooked(store, project_id=ELSEWHERE),
    ]
    await driver.create("a")
    await driver.create("b", project_id=ELSEWHERE, owner_id=ELSEWHERE)
    await driver.complete("a")
    assert await delivered(store, asked) == [("run.completed", "a")]
    assert [await delivered(store, other) for other in others] == [[], [], []]


async def test_the_event_shows_the_run_as_it_was_at_that_time(driver, store):
    mine = await hooked(store)
    await driver.create("a", title="first")
    await driver.complete("a", output=b'{"n":1}')
    await driver.touch("a", title="second")
    await driver.delete("a")
    ((hook, delivery),) = await take(store)
    assert hook == mine
    data = json.loads(delivery.payload)["data"]
    assert (data["run_id"], data["status"]) == ("a", "completed")
    assert (data["title"], data["output"]) == ("first", {"n": 1})


async def test_an_enabled_webhook_gets_events_from_then_on(driver, store):
    mine = await hooked(store, disabled_at=1)
    await driver.create("a")
    await driver.create("b")
    await driver.complete("a")
    await store.webhooks.change(PROJECT, mine.id, lambda old, _: replace(old, disabled_at=None))
    await driver.complete("b")
    assert await delivered(store, mine) == [("run.completed", "b")]


async def test_two_deliverers_never_take_the_same(driver, store):
    await hooked(store)
    await hooked(store)
    for number in range(20):
        await driver.create(f"run-{number}")
        await driver.complete(f"run-{number}")
    taken = [pair for some in await asyncio.gather(*(take(store, 6) for _ in range(8))) for pair in some]
    taken += await take(store)
    names = [delivery.id for _, delivery in taken]
    assert len(names) == len(set(names)) == 40
    assert {delivery.attempts for _, delivery in taken} == {1}
    assert await take(store) == []


async def test_an_unfinished_attempt_is_repeated_after_its_lease(driver, store, clock):
    mine = await hooked(store)
    await driver.create("a")
    await driver.complete("a")
    ((_, first),) = await take(store)
    clock.advance_ms(LEASE_MS - 1)
    assert await take(store) == []
    clock.advance_ms(1)
    ((_, second),) = await take(store)
    assert (second.id, second.attempts, second.payload) == (first.id, 2, first.payload)
    await settle(store, mine, first, "too late")
    (shown,) = await store.webhooks.deliveries(PROJECT, mine.id, 10)
    assert (shown.status, shown.last_error) == ("pending", None)
    await settle(store, mine, second, status=200, duration_ms=7)
    (shown,) = await store.webhooks.deliveries(PROJECT, mine.id, 10)
    assert (shown.status, shown.last_status, shown.duration_ms, shown.next_attempt_at) == (
        "delivered",
        200,
        7,
        None,
    )
    assert shown.delivered_at == clock.now


async def test_a_failure_is_taken_again_when_its_pause_is_over_and_shows_at_the_webhook(driver, store, clock):
    mine = await hooked(store)
    await driver.create("a")
    await driver.complete("a")
    ((_, first),) = await take(store)
    hook, waits = await settle(store, mine, first, "it answered 500", status=500)
    assert await store.webhooks.get(PROJECT, mine.id) == hook
    assert hook.failing_since == clock.now
    clock.advance_ms(waits.next_attempt_at - clock.now - 1)
    assert await take(store) == []
    clock.advance_ms(1)
    ((_, second),) = await take(store)
    assert (second.attempts, second.last_error) == (2, "it answered 500")
    hook, _ = await settle(store, mine, second, "it answered 410", status=410, gone=True)
    assert hook.disabled_at == clock.now
    assert await store.webhooks.hooked(10) == []


async def test_one_webhook_with_many_deliveries_does_not_starve_others(driver, store):
    busy_hook = await hooked(store, events=("run.completed",))
    for number in range(9):
        await driver.create(f"run-{number}")
        await driver.complete(f"run-{number}")
    other = await hooked(store, events=("run.failed",))
    await driver.create("late")
    await driver.complete("late", "failed")
    taken = await take(store, limit=5, per_webhook=4)
    assert [hook.id for hook, _ in taken] == [busy_hook.id] * 4 + [other.id]
    assert await take(store, busy=[busy_hook.id]) == []
    assert len(await take(store, limit=3)) == 3


async def test_no_project_takes_more_than_its_share_and_those_with_fewer_attempts_come_first(store, clock):
    def made(hook, now):
        return new_delivery(str(uuid.uuid4()), hook, "webhook.test", None, b"{}", now)

    hooks = [await hooked(store) for _ in range(3)] + [await hooked(store, project_id=ELSEWHERE)]
    for hook in hooks:
        for _ in range(4):
            await store.webhooks.add(hook.project_id, hook.id, made)
    clock.advance_ms(1)

    def of_projects(taken):
        return Counter(hook.project_id for hook, _ in taken)

    first = await take(store, limit=4, per_project=5)
    assert of_projects(first) == {PROJECT: 2, ELSEWHERE: 2}
    second = await take(store, per_project=5, held={PROJECT: 3, ELSEWHERE: 4})
    assert of_projects(second) == {PROJECT: 2, ELSEWHERE: 1}
    assert await take(store, per_project=5, held={PROJECT: 5, ELSEWHERE: 7}) == []


async def test_deliveries_of_a_disabled_webhook_rest_and_those_of_a_deleted_one_go(driver, store):
    mine = await hooked(store)
    await driver.create("a")
    await driver.complete("a")
    await store.webhooks.change(PROJECT, mine.id, lambda old, now: replace(old, disabled_at=now))
    assert await take(store) == []
    await store.webhooks.change(PROJECT, mine.id, lambda old, _: replace(old, disabled_at=None))
    assert await store.webhooks.hooked(10) == [PROJECT]
    ((_, taken),) = await take(store)
    assert not await store.webhooks.delete(ELSEWHERE, mine.id)
    assert await store.webhooks.delete(PROJECT, mine.id)
    assert not await store.webhooks.delete(PROJECT, mine.id)
    assert await delivered(store, mine) == []
    with pytest.raises(Error) as caught:
        await settle(store, mine, taken)
    assert caught.value.code == "NOT_FOUND"


async def test_the_log_is_read_from_the_newest_on_page_by_page(driver, store, clock):
    mine = await hooked(store)
    for name in "abc":
        await driver.create(name)
        await driver.complete(name)
    ((_, first), *_) = await take(store, limit=1)
    await settle(store, mine, first, status=200)
    page = await store.webhooks.deliveries(PROJECT, mine.id, 2)
    assert [one.run_id for one in page] == ["c", "b"]
    assert [one.payload for one in page] == [b"", b""]
    assert (page[0].created_at, page[0].attempts, page[0].next_attempt_at) == (clock.now, 0, clock.now)
    rest = await store.webhooks.deliveries(PROJECT, mine.id, 2, before=page[-1].seq)
    assert [one.run_id for one in rest] == ["a"]
    assert await delivered(store, mine, status="delivered") == [("run.completed", "a")]
    assert await store.webhooks.deliveries(ELSEWHERE, mine.id, 2) == []


async def test_one_delivery_is_read_with_its_payload(store):
    hook, other = await hooked(store), await hooked(store)
    made = await store.webhooks.add(
        PROJECT, hook.id, lambda hook, now: new_delivery("msg_1", hook, "webhook.test", None, b'{"a":1}', now)
    )
    assert made.payload == b'{"a":1}'
    assert await store.webhooks.delivery(PROJECT, hook.id, "msg_1") == made
    assert await store.webhooks.delivery(PROJECT, hook.id, "msg_2") is None
    assert await store.webhooks.delivery(PROJECT, other.id, "msg_1") is None
    assert await store.webhooks.delivery(ELSEWHERE, hook.id, "msg_1") is None


async def test_a_delivery_is_added_by_hand_and_sent_again(store, clock):
    mine = await hooked(store)

    def trial(hook, now):
        return new_delivery("msg_1", hook, "webhook.test", None, b"{}", now)

    made = await store.webhooks.add(PROJECT, mine.id, trial)
    assert made.seq > 0
    ((_, taken),) = await take(store)
    assert taken == replace(made, attempts=1, next_attempt_at=clock.now + LEASE_MS)
    await settle(store, mine, taken, status=200)
    await store.webhooks.settle(PROJECT, mine.id, "msg_1", redeliver)
    ((_, taken),) = await take(store)
    assert (taken.id, taken.attempts, taken.payload) == ("msg_1", 2, b"{}")


async def test_old_deliveries_are_dropped_but_none_that_is_still_to_be_sent(driver, store, clock):
    mine = await hooked(store)
    for name in "abc":
        await driver.create(name)
        await driver.complete(name)
    ((_, a), (_, b), _) = await take(store)
    await settle(store, mine, a, status=200)
    await settle(store, mine, b, status=200)
    assert await store.webhooks.prune(1_000, 10) == 0
    clock.advance_ms(1_001)
    await store.webhooks.settle(PROJECT, mine.id, b.id, redeliver)
    assert await store.webhooks.prune(1_000, 10) == 1
    assert await delivered(store, mine) == [("run.completed", "b"), ("run.completed", "c")]
    clock.advance_ms(2 * 86_400_000)
    assert await store.webhooks.prune(1_000, 1) == 1
    assert await store.webhooks.prune(1_000, 10) == 1
    assert await delivered(store, mine) == []
