"""Secrets in the tables of both engines: encrypted, rotated in slices, and counted."""

import pytest

from runstead.commands.secrets import count, encrypt_plain, rotate
from runstead.commands.webhooks import decrypted
from runstead.core import limits
from runstead.core.conversations.conversation import Conversation
from runstead.core.schedules.trigger import Trigger, token_hash
from runstead.core.secret import (
    INPUT_SECRETS,
    PLACES,
    SIGNING_KEY,
    TRIGGER_SECRET,
    WEBHOOK_OLD_SECRET,
    WEBHOOK_SECRET,
)
from runstead.core.webhooks.webhook import Webhook, secret_of
from runstead.ports.store import Replacement
from runstead.security.signing import Keyring, new_pair
from runstead.security.stored_secrets import StoredSecrets, key_id, new_key
from tests.support.store_driver import PROJECT

OLD, NEW = (new_key().encode() for _ in range(2))
HOOKS = 5


def with_keys(*keys):
    return StoredSecrets(lambda: keys)


def hook(number):
    return f"00000000-0000-4000-8000-{number:012}"


@pytest.fixture
async def store(store, driver):
    """A store with secrets in plain text, as earlier versions stored them."""
    for number in range(HOOKS):
        new = Webhook(hook(number), PROJECT, "https://a.test", ("*",), secret_of(bytes([number] * 24)), 1, 1)
        if number == 0:
            new = Webhook(**{**_fields(new), "old_secret": secret_of(bytes(25)), "old_secret_until": 10**13})
        await store.webhooks.create(new, lambda _count: None)
    trigger = Trigger(
        hook(90), PROJECT, "push", "task:x", token_hash("t"), 1, 1, secret="trigger-secret-text"
    )
    await store.triggers.create(trigger, lambda _count: None)
    await store.signing_keys.add(new_pair(1), only_first=True)
    await store.conversations.create(Conversation("c-1", PROJECT, "chat", 1, 1))
    await driver.create("run-1", conversation_id="c-1")
    await driver.ask("run-1", "i-1")
    await driver.respond("run-1", "i-1", secrets='{"password":"hunter2"}')
    return store


def _fields(record):
    return {name: getattr(record, name) for name in record.__struct_fields__}


async def stored(store):
    return {
        (place, row): value for place in PLACES for row, value in await store.secrets.page(place, "", 1_000)
    }


async def test_plain_secrets_are_encrypted_and_still_read(store, monkeypatch):
    monkeypatch.setattr(limits, "secrets_per_slice_max", 2)
    plain, secrets = await stored(store), with_keys(OLD)
    assert {place for place, _ in plain} == set(PLACES)
    assert await encrypt_plain(store, secrets) == len(plain) == HOOKS + 5
    kept = await stored(store)
    for (place, row), value in kept.items():
        assert value.startswith(f"encrypted:1:{key_id(OLD)}:")
        assert secrets.decrypt(place, row, value) == plain[place, row]
    assert await encrypt_plain(store, secrets) == 0
    read = decrypted(secrets, await store.webhooks.get(PROJECT, hook(0)))
    assert (read.secret, read.old_secret) == (secret_of(bytes(24)), secret_of(bytes(25)))
    assert len(await Keyring(store.signing_keys, secrets=secrets).jwks()) == 2


async def test_a_rotation_encrypts_every_secret_with_the_first_key(store, monkeypatch):
    monkeypatch.setattr(limits, "secrets_per_slice_max", 2)
    plain = await stored(store)
    await encrypt_plain(store, with_keys(OLD))
    both = with_keys(NEW, OLD)
    assert {each.key_id for each in await count(store, both)} == {key_id(OLD)}
    assert await rotate(store, both) == len(plain)
    assert await rotate(store, both) == 0
    counts = await count(store, with_keys(NEW))
    assert {(each.place, each.number) for each in counts} == {
        (SIGNING_KEY, 2),
        (TRIGGER_SECRET, 1),
        (WEBHOOK_SECRET, HOOKS),
        (WEBHOOK_OLD_SECRET, 1),
        (INPUT_SECRETS, 1),
    }
    assert all(each.readable and each.current and each.key_id == key_id(NEW) for each in counts)
    for (place, row), value in (await stored(store)).items():
        assert with_keys(NEW).decrypt(place, row, value) == plain[place, row]


async def test_a_rotation_leaves_secrets_of_a_missing_key_and_changed_ones_as_they_are(store):
    await encrypt_plain(store, with_keys(OLD))
    moved = (await stored(store))[WEBHOOK_SECRET, hook(1)]
    await store.secrets.replace(
        WEBHOOK_SECRET, [Replacement(hook(2), (await stored(store))[WEBHOOK_SECRET, hook(2)], moved)]
    )
    before = await stored(store)
    assert await rotate(store, with_keys(NEW)) == 0
    assert await stored(store) == before
    assert not any(each.readable for each in await count(store, with_keys(NEW)))
    assert await rotate(store, with_keys(NEW, OLD)) == len(before) - 1
    assert (await stored(store))[WEBHOOK_SECRET, hook(2)] == moved


async def test_a_secret_that_changed_meanwhile_is_not_replaced(store):
    before = (await stored(store))[WEBHOOK_SECRET, hook(3)]
    await store.secrets.replace(WEBHOOK_SECRET, [Replacement(hook(3), before, "newer")])
    await store.secrets.replace(
        WEBHOOK_SECRET, [Replacement(hook(3), before, "late"), Replacement(hook(4), "unknown", "late")]
    )
    after = await stored(store)
    assert after[WEBHOOK_SECRET, hook(3)] == "newer"
    assert after[WEBHOOK_SECRET, hook(4)] != "late"
