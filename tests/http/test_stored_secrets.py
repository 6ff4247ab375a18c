"""Webhooks, triggers and signing keys whose secrets are encrypted in the store, and what still works without the key."""

import hashlib
import hmac

import pytest

from runstead.security.signing import Keyring
from runstead.security.stored_secrets import StoredSecrets, key_id, new_key

from .test_webhooks import Receiver

pytestmark = pytest.mark.postgres
KEY, OTHER = (new_key().encode() for _ in range(2))
SIGNED = "a-secret-for-github"


def use(api, *keys, refuse_new=False):
    """Restart the application with these keys."""
    api.app.secrets = StoredSecrets(lambda: keys, refuse_new=refuse_new)
    api.app.keyring = Keyring(api.store.signing_keys, clock=api.clock, secrets=api.app.secrets)


@pytest.fixture
async def receiver(api):
    use(api, KEY)
    async with Receiver(api) as made:
        yield made


async def values(api):
    places = ("webhooks.secret", "webhooks.old_secret", "triggers.secret", "signing_keys.pem")
    return [value for place in places for _, value in await api.store.secrets.page(place, "", 100)]


async def trigger(api):
    body = {"target": "task:x", "secret": SIGNED}
    return await api.post(f"/projects/{api.project.slug}/triggers", body, 201, by="admin")


async def fire(api, made, status):
    body = b'{"n":1}'
    mac = hmac.new(SIGNED.encode(), body, hashlib.sha256).hexdigest()
    response = await api.send(
        "POST", f"/triggers/{made['token']}", body, by=None, headers={"x-hub-signature-256": f"sha256={mac}"}
    )
    assert response.status_code == status, response.text
    return response


async def test_no_secret_is_in_the_store_in_plain_text(api, receiver):
    hook = await receiver.hook("*")
    path = f"{receiver.path}/{hook['webhook']['id']}/rotate"
    rotated = await api.post(path, {}, by="admin")
    again = await api.post(path, {"secret": rotated["secret"]}, by="admin")
    assert again["secret"] == rotated["secret"]
    await fire(api, await trigger(api), 202)
    await api.get("/.well-known/jwks.json", by=None)
    kept = await values(api)
    assert len(kept) == 5
    assert all(value.startswith(f"encrypted:1:{key_id(KEY)}:") for value in kept)
    await receiver.finish()
    await receiver.tick()
    sent = receiver.requests[-1]
    assert len(sent.headers["webhook-signature"].split(" ")) == 2  # both secrets sign


async def test_a_lost_key_stops_only_what_needs_it(api, receiver):
    hook, made = await receiver.hook("run.completed"), await trigger(api)
    await api.get("/.well-known/jwks.json", by=None)
    use(api, refuse_new=True)
    await receiver.finish()  # runs go on
    await receiver.tick()
    (delivery,) = await receiver.log(hook)
    assert delivery["status"] == "pending"  # sent once the key is back
    assert f"does not have the encryption key {key_id(KEY)}" in delivery["last_error"]
    assert receiver.requests == []
    problem = (await fire(api, made, 503)).json()
    assert problem["code"] == "ENCRYPTION_KEY_MISSING"
    assert made["trigger"]["id"] in problem["detail"]
    await api.refused(503, "ENCRYPTION_KEY_MISSING", "GET", "/.well-known/jwks.json", by=None)
    await receiver.hook(status=503)
    assert (await receiver.shown(hook))["id"] == hook["webhook"]["id"]

    use(api, OTHER, KEY)  # the key is back
    await fire(api, made, 202)
    api.clock.advance(60)
    await receiver.tick()
    assert [each["status"] for each in await receiver.log(hook)] == ["delivered"]


async def test_a_webhook_whose_key_is_lost_works_again_with_a_new_secret(api, receiver):
    hook = await receiver.hook("run.completed")
    use(api, OTHER)
    await api.post(f"{receiver.path}/{hook['webhook']['id']}/rotate", {}, by="admin")
    await receiver.finish()
    await receiver.tick()
    assert [each["status"] for each in await receiver.log(hook)] == ["delivered"]
    assert len(receiver.requests[-1].headers["webhook-signature"].split(" ")) == 1
