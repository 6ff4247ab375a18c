"""What the server keeps and cannot read: values encrypted under a secret that somebody else holds."""

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
    """The value under AES-256-GCM, with the key that HKDF-SHA256 makes of the secret for this purpose: nonce, ciphertext,
    tag.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _cipher(secret, purpose).encrypt(nonce, value, None)


def decrypt(secret: bytes, purpose: str, encrypted: bytes) -> bytes | None:
    """The value; None where another secret or purpose encrypted it, or where it was changed since."""
    try:
        return _cipher(secret, purpose).decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], None)
    except (InvalidTag, ValueError):  # ValueError: too short to be one
        return None
