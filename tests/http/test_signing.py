"""The server's signing keys: from a file, or created once and stored."""

import asyncio
import stat

import jwt
import pytest

from runstead.security.signing import Keyring, new_pair, read_file, write_file
from runstead.testing.store import TemporaryStore

WHO = {"user_id": "ada", "service_id": "svc", "issuer": "claim:ada", "project_id": "p", "run_id": "r"}


def kid(token):
    return jwt.get_unverified_header(token)["kid"]


@pytest.fixture
async def keys():
    """The signing keys of an empty store."""
    store = TemporaryStore()
    await store.open()
    yield store.signing_keys
    await store.close()


def test_a_key_file_is_readable_by_its_owner_only_and_its_newest_pair_signs(tmp_path):
    path = tmp_path / "keys.pem"
    write_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = read_file(path)
    write_file(path)
    both = read_file(path)
    assert [key.kid for key in both[:2]] == [key.kid for key in first]
    assert len({key.kid for key in both}) == 4


async def test_the_newest_keys_of_a_file_sign_and_old_ones_verify(tmp_path, keys):
    path = tmp_path / "keys.pem"
    write_file(path)
    old = await Keyring(keys, path).run_event_token(**WHO)
    write_file(path)
    keyring = Keyring(keys, path)
    new = await keyring.run_event_token(**WHO)
    assert kid(old) != kid(new)
    for token in (old, new):
        assert (await keyring.verify(token, kid(token)))["runId"] == "r"
    assert await keys.all() == [], "what a file holds is not copied into the store"


@pytest.mark.parametrize(
    "text", ["", "no keys at all", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
)
def test_a_file_without_a_valid_pair_is_refused_with_a_message(tmp_path, text):
    path = tmp_path / "keys.pem"
    path.write_text(text)
    with pytest.raises(ValueError, match=str(path)):
        read_file(path)
    with pytest.raises(ValueError, match=str(path)):
        write_file(path)
    assert path.read_text() == text, "a file of something else is not written to"


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_file(tmp_path / "missing.pem")


async def test_a_file_that_vanishes_leaves_the_keys_in_use(tmp_path, keys):
    path = tmp_path / "keys.pem"
    write_file(path)
    keyring = Keyring(keys, path)
    token = await keyring.run_event_token(**WHO)
    path.unlink()
    keyring._read_at = float("-inf")
    assert kid(await keyring.run_event_token(**WHO)) == kid(token)


async def test_two_replicas_create_one_pair(keys):
    tokens = await asyncio.gather(*(Keyring(keys).run_event_token(**WHO) for _ in range(3)))
    assert len({kid(token) for token in tokens}) == 1
    assert len(await keys.all()) == 2


async def test_a_replica_reads_a_key_that_another_created(keys):
    first, second = Keyring(keys), Keyring(keys)
    token = await first.run_event_token(**WHO)
    assert (await second.verify(token, kid(token)))["runId"] == "r"


async def test_a_token_of_another_issuer_is_not_recognized(keys):
    keyring = Keyring(keys)
    await keyring.run_event_token(**WHO)
    assert await keyring.verify("a.b.c", "another") is None
    calls = next(key["kid"] for key in await keyring.jwks() if key["alg"] == "EdDSA")
    assert await keyring.verify("a.b.c", calls) is None, "such a key signs no tokens"


def test_a_kid_is_the_thumbprint_of_the_public_key():
    ours = new_pair(0)
    assert len({key.kid for key in [*ours, *new_pair(0)]}) == 4
    assert all(len(key.kid) == 43 for key in ours)
