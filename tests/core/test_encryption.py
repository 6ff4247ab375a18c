"""An encrypted value is decrypted only with its own secret and purpose."""

from hypothesis import given, strategies

from runstead.security.encryption import SECRET_BYTES, decrypt, encrypt, new_secret

SECRETS = strategies.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)


@given(SECRETS, strategies.binary(max_size=200))
def test_a_decrypted_value_equals_the_original(secret, value):
    assert decrypt(secret, "test", encrypt(secret, "test", value)) == value


@given(SECRETS, SECRETS, strategies.binary(max_size=50))
def test_another_secret_or_purpose_decrypts_nothing(secret, other, value):
    encrypted = encrypt(secret, "test", value)
    assert decrypt(secret, "other", encrypted) is None
    if other != secret:
        assert decrypt(other, "test", encrypted) is None


@given(strategies.binary(max_size=50), strategies.data())
def test_a_changed_value_is_not_decrypted(value, data):
    secret = new_secret()
    encrypted = bytearray(encrypt(secret, "test", value))
    place = data.draw(strategies.integers(0, len(encrypted) - 1))
    encrypted[place] ^= data.draw(strategies.integers(1, 255))
    assert decrypt(secret, "test", bytes(encrypted)) is None


@given(strategies.binary(max_size=40))
def test_random_bytes_are_not_decrypted(noise):
    assert decrypt(bytes(SECRET_BYTES), "test", noise) is None


def test_the_same_value_looks_different_every_time():
    secret = new_secret()
    assert encrypt(secret, "test", b"value") != encrypt(secret, "test", b"value")
    assert new_secret() != new_secret()
