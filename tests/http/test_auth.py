"""Who a request comes from: API keys, worker tokens, users' tokens, and headers that are none of these."""

import asyncio
import secrets
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runstead.core.errors import Error
from runstead.core.identity.principal import ALL_SCOPES, DEFAULT_SCOPES, Scope, can
from runstead.core.identity.project import ApiKey, Member, Project, new_key, personal_project, token_hash
from runstead.core.queue.worker import Worker
from runstead.http.auth.authenticator import Authenticator, seen_credentials_max
from runstead.http.auth.jwt import TokenVerifier
from runstead.testing.store import TemporaryStore

NOW = 1_774_008_000_000
SIGNING = Ed25519PrivateKey.generate()
PEM = SIGNING.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PERSONAL = personal_project("ada", NOW).id


def anything(_members, _keys):
    """A guard that lets every change be."""


class House:
    """A store with projects p1 and p2, a clock, and the authenticator in front of both."""

    def __init__(self):
        self.now = NOW
        self.store = TemporaryStore(self.clock)

    async def open(self):
        await self.store.open()
        self.auth = Authenticator(self.store, TokenVerifier(PEM, clock=self.clock), self.clock)

    def clock(self):
        return self.now

    async def key(self, scopes=DEFAULT_SCOPES, **changes):
        text = new_key()
        key_id, prefix = f"k-{text[3:11]}", text[3:11]
        key = ApiKey(key_id, "p1", prefix, token_hash(text), frozenset(scopes), NOW, **changes)
        await self.store.identity.create_key(key)
        return text, key_id

    async def join(self, project, role):
        await self.store.identity.put_member(Member(project, "ada", role, NOW), anything)

    async def worker(self):
        text = f"vfw_{secrets.token_hex(32)}"
        await self.store.workers.register(Worker("w1", "p1", "claude", "one", NOW, NOW), token_hash(text))
        return text

    async def bearer(self, text):
        return await self.auth.authenticate(f"Bearer {text}", None)

    async def user(self, **claims):
        body = {"sub": "ada", "exp": self.now // 1000 + 600, **claims}
        return await self.bearer(jwt.encode(body, SIGNING, "EdDSA"))

    async def refusal(self, authorization, x_api_key=None):
        with pytest.raises(Error) as caught:
            await self.auth.authenticate(authorization, x_api_key)
        assert caught.value.code == "UNAUTHENTICATED"
        return caught.value.message


@pytest.fixture
async def house():
    made = House()
    await made.open()
    for name in ("p1", "p2"):
        await made.store.identity.create_project(Project(name, f"slug-{name}", name, NOW), None, None)
    yield made
    await made.store.close()


async def test_an_api_key_opens_its_project_through_either_header(house):
    key, key_id = await house.key(scopes={Scope.RUNS_WRITE})
    by_bearer = await house.bearer(key)
    assert (by_bearer.kind, by_bearer.id, by_bearer.run_id, by_bearer.worker_id) == (
        "api_key",
        key_id,
        None,
        None,
    )
    assert by_bearer.grants == {"p1": {Scope.RUNS_WRITE, Scope.RUNS_READ}}
    assert await house.auth.authenticate(None, key) == by_bearer
    assert await house.auth.authenticate(f"bearer  {key} ", key) == by_bearer


async def test_an_admin_key_may_do_everything_in_its_project_and_nothing_elsewhere(house):
    key, _ = await house.key(scopes={Scope.ADMIN})
    principal = await house.bearer(key)
    assert principal.grants == {"p1": ALL_SCOPES}
    assert not can(principal, Scope.RUNS_READ, "p2")


async def test_a_key_that_is_unknown_and_one_that_is_revoked_are_told_the_same(house):
    revoked, _ = await house.key(revoked_at=NOW - 1)
    known, _ = await house.key()
    bad = (revoked, new_key(), known[:-1], known + "0", "vf_", "vf_a_")
    told = {await house.refusal(f"Bearer {key}") for key in bad}
    assert told == {"The API key is unknown or revoked"}


async def test_a_key_is_good_until_it_expires_also_when_it_is_remembered(house):
    key, _ = await house.key(expires_at=NOW + 1_000)
    house.now += 999
    assert await house.bearer(key)
    house.now += 1
    assert await house.refusal(f"Bearer {key}") == "The API key has expired"


async def test_a_revocation_elsewhere_is_seen_after_two_seconds_and_one_here_at_once(house):
    key, key_id = await house.key()
    first = await house.bearer(key)
    await house.store.identity.revoke_key("p1", key_id, NOW)
    house.now += 1_999
    assert await house.bearer(key) is first
    house.now += 1
    await house.refusal(f"Bearer {key}")
    key, key_id = await house.key()
    await house.bearer(key)
    await house.store.identity.revoke_key("p1", key_id, house.now)
    house.auth.forget()
    await house.refusal(f"Bearer {key}")


async def test_a_clock_that_is_set_back_does_not_prolong_what_is_remembered(house):
    key, key_id = await house.key()
    await house.bearer(key)
    await house.store.identity.revoke_key("p1", key_id, NOW)
    house.now -= 1
    await house.refusal(f"Bearer {key}")


async def test_what_was_being_read_while_it_was_revoked_is_not_remembered(house):
    key, key_id = await house.key()
    read, revoked = asyncio.Event(), asyncio.Event()
    key_by_hash = house.store.identity.key_by_hash

    async def slow(digest):
        found = await key_by_hash(digest)
        read.set()
        await revoked.wait()
        return found

    house.store.identity.key_by_hash = slow
    caller = asyncio.create_task(house.bearer(key))
    await read.wait()
    await house.store.identity.revoke_key("p1", key_id, NOW)
    house.auth.forget()
    revoked.set()
    assert await caller
    await house.refusal(f"Bearer {key}")


async def test_what_is_remembered_is_bounded_and_costs_microseconds(house):
    key, _ = await house.key()
    await house.bearer(key)
    started, rounds = time.perf_counter(), 2_000
    for _ in range(rounds):
        await house.auth.authenticate(f"Bearer {key}", None)
    assert (time.perf_counter() - started) / rounds < 50e-6  # about 2 µs; the rest is for busy machines
    for _ in range(seen_credentials_max + 10):
        await house.bearer((await house.key())[0])
    assert len(house.auth._seen) == seen_credentials_max


async def test_the_last_use_of_keys_is_stored_at_most_once_a_minute(house):
    key, _ = await house.key()

    async def last_used():
        [stored] = await house.store.identity.keys("p1")
        return stored.last_used_at

    await house.auth.flush()
    await house.bearer(key)
    await house.auth.flush()
    assert await last_used() == NOW
    house.now += 59_999
    await house.bearer(key)
    await house.auth.flush()
    assert await last_used() == NOW
    house.now += 1
    await house.auth.flush()
    assert await last_used() == NOW + 59_999
    await house.bearer(key)
    await house.auth.flush(force=True)
    assert await last_used() == NOW + 60_000


async def test_a_last_use_that_could_not_be_stored_is_stored_later(house):
    key, _ = await house.key()
    await house.bearer(key)
    touch_keys = house.store.identity.touch_keys

    async def full_disk(used):
        raise Error("STORE_UNAVAILABLE", "The disk is full")

    house.store.identity.touch_keys = full_disk
    with pytest.raises(Error, match="full"):
        await house.auth.flush()
    house.store.identity.touch_keys = touch_keys
    await house.auth.flush()
    [stored] = await house.store.identity.keys("p1")
    assert stored.last_used_at == NOW


async def test_a_worker_token_acts_for_its_worker_alone(house):
    text = await house.worker()
    for _ in range(2):
        principal = await house.bearer(text)
        assert (principal.kind, principal.id, principal.worker_id) == ("worker", "w1", "w1")
        assert principal.grants == {"p1": {Scope.WORKERS}}
        assert "as Bearer" in await house.refusal(None, text)
    assert "register the worker again" in await house.refusal("Bearer vfw_unknown")


async def test_a_user_reaches_projects_by_role_and_the_personal_one(house):
    for role, scopes in (("viewer", {Scope.RUNS_READ}), ("member", DEFAULT_SCOPES), ("admin", ALL_SCOPES)):
        await house.join("p1", role)
        house.auth.forget()
        principal = await house.user()
        assert (principal.kind, principal.id, principal.run_id) == ("user", "ada", None)
        assert principal.grants == {"p1": scopes, PERSONAL: DEFAULT_SCOPES}


async def test_a_change_of_role_is_seen_after_two_seconds(house):
    await house.join("p1", "admin")
    assert can(await house.user(jti="1", exp=NOW // 1000 + 60), Scope.ADMIN, "p1")
    await house.store.identity.remove_member("p1", "ada", anything)
    assert can(await house.user(jti="1", exp=NOW // 1000 + 60), Scope.ADMIN, "p1")
    house.now += 2_000
    assert not can(await house.user(jti="1", exp=NOW // 1000 + 60), Scope.RUNS_READ, "p1")


async def test_a_token_that_names_a_project_or_a_run_reaches_that_one_only(house):
    assert (await house.user(runId="r1")).run_id == "r1"
    await house.join("p1", "admin")
    assert (await house.user(projectId="p2")).grants == {"p2": DEFAULT_SCOPES}
    assert (await house.user(projectId="p1")).grants == {"p1": ALL_SCOPES}
    assert (await house.user(projectId="nowhere")).grants == {}
    assert (await house.user(projectId="slug-p2")).grants == {}
    assert (await house.user(projectId=PERSONAL)).grants == {PERSONAL: DEFAULT_SCOPES}
    assert (await house.user(userId="eve", projectId=PERSONAL)).grants == {}


NARROWED = [
    (["runs:read"], {Scope.RUNS_READ}),
    ("runs:write openid", {Scope.RUNS_READ, Scope.RUNS_WRITE}),
    (["admin"], DEFAULT_SCOPES),  # narrowing never adds
    (["openid"], set()),
    ([], set()),
]


@pytest.mark.parametrize(("named", "left"), NARROWED)
async def test_scopes_of_a_token_narrow_what_the_user_may_do_everywhere(house, named, left):
    await house.join("p1", "member")
    assert (await house.user(scopes=named)).grants == {"p1": left, PERSONAL: left}
    assert (await house.user(scopes=named, projectId="p2")).grants == {"p2": left}


async def test_a_token_for_writing_events_is_no_token_of_a_user(house):
    with pytest.raises(Error, match="events of one run") as caught:
        await house.user(
            tokenUse="run_event_writer", runId="r1", projectId="p1", scopes=["agent-runs:events:append"]
        )
    assert caught.value.code == "UNAUTHENTICATED"


async def test_a_token_is_not_remembered_past_its_expiry(house):
    text = jwt.encode({"sub": "ada", "exp": NOW // 1000 + 1}, SIGNING, "EdDSA")
    assert await house.bearer(text)
    house.now += 1_000
    assert await house.refusal(f"Bearer {text}") == "The token has expired"


async def test_without_a_verifier_every_token_is_refused(house):
    house.auth = Authenticator(house.store, None, house.clock)
    assert "not set up for JWTs" in await house.refusal("Bearer a.b.c")
    assert await house.bearer((await house.key())[0])


async def test_no_credential_and_two_different_ones_are_refused(house):
    key, _ = await house.key()
    other, _ = await house.key()
    told = 'Send a credential: "Authorization: Bearer <token or key>" or "X-API-Key: <key>"'
    assert await house.refusal(None) == told
    assert "different credentials" in await house.refusal(f"Bearer {key}", other)


HEADERS = ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer\tx", "Token x", "\x00", "é"]
VALUES = ["\x00", "vf_a_\x00", "é", "vf_a_\ud800", "x" * 65_536, "vf_a_" + "0" * 65_536]
HEADERS += [f"Bearer {value}" for value in VALUES]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
async def test_a_header_that_is_no_credential_is_refused_in_one_sentence(house, header):
    for sent in ((header, None), (None, header), (None, header.removeprefix("Bearer "))):
        assert "x" * 100 not in await house.refusal(*sent)


async def test_whoever_keeps_a_credential_learns_when_it_ends(house):
    lasting, _ = await house.key()
    ending, key_id = await house.key(expires_at=NOW + 1_000)
    assert (await house.auth.examine(lasting))[1] is None
    principal, expires_at = await house.auth.examine(ending)
    assert (principal.identity, expires_at) == (f"api_key:{key_id}", NOW + 1_000)
    token = jwt.encode({"sub": "ada", "exp": NOW // 1000 + 60}, SIGNING, "EdDSA")
    principal, expires_at = await house.auth.examine(token)
    assert (principal.identity, expires_at) == ("user:ada", NOW + 60_000)
    assert (await house.auth.examine(await house.worker()))[0].kind == "worker"


async def test_a_credential_that_is_kept_is_looked_up_anew(house):
    key, key_id = await house.key()
    await house.bearer(key)
    await house.store.identity.revoke_key("p1", key_id, NOW)
    assert await house.bearer(key)  # for two seconds more
    for bad in (key, "", "no token", "vf_"):
        with pytest.raises(Error) as caught:
            await house.auth.examine(bad)
        assert caught.value.code == "UNAUTHENTICATED"
