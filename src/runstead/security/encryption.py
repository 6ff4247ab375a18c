"""Encryption of stored values with a secret that the server does not store, such as one in a browser's cookie."""

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SECRET_BYTES: Final = 32
_NONCE_BYTES: Final = 12


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def _cipher(secret: bytes, purpose: str) -> AESGCM:
    key = HKDF(SHA256(), length=32, salt=None, info=f"runstead {purpose}".encode()).derive(secret)
    return AESGCM(key)


def encrypt(secret: bytes, purpose: str, value: bytes) -> bytes:
    """Encrypt a value with AES-256-GCM. The key is derived from the secret and the purpose with HKDF-SHA256.
    Returns the nonce, the ciphertext and the tag.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _cipher(secret, purpose).encrypt(nonce, value, None)


def decrypt(secret: bytes, purpose: str, encrypted: bytes) -> bytes | None:
    """Decrypt a value. None if it was encrypted with another secret or purpose, or was changed."""
    try:
        return _cipher(secret, purpose).decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], None)
    except (InvalidTag, ValueError):  # ValueError: it is too short
        return None
