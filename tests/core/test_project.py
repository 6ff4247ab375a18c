import hashlib
import re
import secrets
import uuid

import pytest
from hypothesis import given, strategies as st

from runstead.core.identity.project import (
    check_bootstrap_key,
    key_prefix,
    new_key,
    personal_project,
    token_hash,
    user_uuid,
)


def test_a_key_has_a_prefix_to_show_and_256_random_bits():
    key = new_key()
    assert re.fullmatch(r"vf_[0-9a-f]{8}_[0-9a-f]{64}", key)
    assert key_prefix(key) == key.split("_")[1]
    assert new_key() != key


@pytest.mark.parametrize(
    "key", ["", "vf_", "vf__secret", "vf_prefix_", "vf_prefix", "sk_a_b", "VF_a_b", " vf_a_b"]
)
def test_an_invalid_key_has_no_prefix(key):
    assert key_prefix(key) is None


def test_a_secret_may_contain_underscores():
    assert key_prefix("vf_local_a_b_c") == "local"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_prefix_of_any_text_can_be_read(text):
    prefix = key_prefix(text)
    assert prefix is None or text.startswith(f"vf_{prefix}_")


@pytest.mark.parametrize(
    "key",
    [
        "vf_a_b",
        "vf_local_choose-a-long-random-secret",
        f"vf_local_{'0123456789abcdef' * 2}"[:-1],
        f"vf_local_{'a' * 64}",
        f"vf_local_{'abc' * 16}",
        f"vf_{'0123456789abcdef' * 4}",
        f"vf_local_{'0123456789abcdef' * 4}\n",
        f"vf_local_{'0123456789abcdé' * 4}",
        "letmein",
    ],
)
def test_a_bootstrap_key_that_can_be_guessed_is_refused(key):
    with pytest.raises(ValueError, match="at least 32 random characters: `runstead keys generate` makes one"):
        check_bootstrap_key(key)


def test_a_random_bootstrap_key_is_accepted():
    for key in (new_key(), f"vf_local_{secrets.token_hex(32)}", f"vf_local_{secrets.token_urlsafe(24)}"):
        check_bootstrap_key(key)


def test_a_key_is_stored_as_its_sha_256():
    assert token_hash("vf_a_b") == hashlib.sha256(b"vf_a_b").digest()


def test_a_user_id_that_is_a_uuid_is_used_unchanged():
    user = str(uuid.uuid4())
    assert user_uuid(user) == user
    assert user_uuid(user.upper()) == user


def test_any_other_user_id_has_a_stable_uuid():
    assert user_uuid("auth0|7") == user_uuid("auth0|7") != user_uuid("auth0|8")
    assert uuid.UUID(user_uuid("auth0|7"))


def test_a_user_has_one_personal_project():
    one, again, other = (personal_project(user, 1) for user in ("ann", "ann", "ben"))
    assert one == again
    assert {one.id, one.slug} & {other.id, other.slug} == set()
    assert (one.personal_of, one.created_by) == ("ann", user_uuid("ann"))
