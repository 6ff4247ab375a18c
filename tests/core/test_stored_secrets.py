"""A secret of the store is encrypted for its row, and readable with its key only."""

import stat

import pytest

from runstead.core.errors import Error
from runstead.security.stored_secrets import (
    StoredSecrets,
    add_key,
    encrypted_with,
    key_id,
    new_key,
    read_key_file,
    read_keys,
)

PLACE = "webhooks.secret"
OLD, NEW = (new_key().encode() for _ in range(2))


def secrets_with(*keys, **options):
    return StoredSecrets(lambda: keys, **options)


def test_an_encrypted_secret_names_its_key_and_shows_neither_key_nor_text():
    stored = secrets_with(NEW, OLD).encrypt(PLACE, "row", "whsec_text")
    assert encrypted_with(stored) == key_id(NEW)
    assert "text" not in stored
    assert NEW.decode() not in stored
    assert stored != secrets_with(NEW).encrypt(PLACE, "row", "whsec_text")
    assert secrets_with(OLD, NEW).decrypt(PLACE, "row", stored) == "whsec_text"


@pytest.mark.parametrize(
    ("place", "row"), [(PLACE, "other"), ("triggers.secret", "row"), (f"{PLACE}\0ro", "w")]
)
def test_a_secret_that_was_moved_to_another_row_or_column_is_not_decrypted(place, row):
    secrets = secrets_with(NEW)
    stored = secrets.encrypt(PLACE, "row", "whsec_text")
    with pytest.raises(Error, match="it was changed, or belongs to another row") as caught:
        secrets.decrypt(place, row, stored)
    assert caught.value.code == "ENCRYPTION_KEY_MISSING"


def test_a_lost_key_is_named_with_what_cannot_be_read():
    stored = secrets_with(OLD).encrypt(PLACE, "row-1", "whsec_text")
    message = (
        f"{PLACE} of row-1 cannot be decrypted: the server does not have the encryption key {key_id(OLD)}"
    )
    for secrets in (secrets_with(NEW), secrets_with()):
        with pytest.raises(Error) as caught:
            secrets.decrypt(PLACE, "row-1", stored)
        assert caught.value.message == message


def test_a_key_that_is_added_later_is_found_without_a_restart():
    keys = [OLD]
    secrets = StoredSecrets(lambda: keys)
    stored = secrets_with(NEW).encrypt(PLACE, "row", "text")
    keys.insert(0, NEW)
    assert secrets.decrypt(PLACE, "row", stored) == "text"
    assert secrets.current == key_id(NEW)


def test_without_a_key_secrets_are_plain_text_unless_the_store_has_encrypted_ones():
    assert secrets_with().encrypt(PLACE, "row", "text") == "text"
    assert secrets_with(NEW).decrypt(PLACE, "row", "text") == "text"
    with pytest.raises(Error, match="RUNSTEAD_ENCRYPTION_KEY"):
        secrets_with(refuse_new=True).encrypt(PLACE, "row", "text")
    # Text that looks encrypted could not be told from it later.
    with pytest.raises(Error, match="cannot begin with encrypted:1:"):
        secrets_with().encrypt(PLACE, "row", "encrypted:1:text")


def test_keys_are_values_and_files(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"{NEW.decode()}\n{OLD.decode()}\n")
    value = "a+/=" * 11
    assert read_keys(f"{value}, file:{file}") == [value.encode(), NEW, OLD]
    assert read_keys(str(file)) == [NEW, OLD]


@pytest.mark.parametrize("setting", ["short", "file:/no/such/file", "x" * 600, ",", "word " * 20])
def test_a_refused_setting_is_explained_without_the_key(setting):
    with pytest.raises(ValueError, match="RUNSTEAD_ENCRYPTION_KEY") as caught:
        read_keys(setting)
    if not setting.startswith("file:"):
        assert setting.strip() not in str(caught.value).replace(",", "") or setting == ","


def test_a_new_key_is_first_in_its_file_which_only_the_owner_can_read(tmp_path):
    file = tmp_path / "keys"
    first = add_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = add_key(file)
    assert [key_id(key) for key in read_key_file(file)] == [second, first]
    assert [each.name for each in tmp_path.iterdir()] == ["keys"]
