"""Encryption of stored values with a secret that the store does not hold, such as one in a browser's cookie.

`cryptography` is imported where it is used: commands that encrypt nothing start without it.
"""

import secrets
from typing import Final

SECRET_BYTES: Final = 32
_NONCE_BYTES: Final = 12


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def derive(secret: bytes, purpose: str) -> bytes:
    """Derive 32 bytes from a secret with HKDF-SHA256. Bytes of one purpose reveal nothing about those of another."""
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    return HKDF(SHA256(), length=32, salt=None, info=f"runstead {purpose}".encode()).derive(secret)


def encrypt(secret: bytes, purpose: str, value: bytes, place: bytes | None = None) -> bytes:
    """Encrypt a value with AES-256-GCM. The key is derived from the secret and the purpose with HKDF-SHA256.
    The value can be decrypted only with the same `place` (associated data). Returns the nonce, the ciphertext
    and the tag.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(derive(secret, purpose)).encrypt(nonce, value, place)


def decrypt(secret: bytes, purpose: str, encrypted: bytes, place: bytes | None = None) -> bytes | None:
    """Decrypt a value. None if it was encrypted with another secret, purpose or place, or was changed."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    nonce, ciphertext = encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:]
    try:
        return AESGCM(derive(secret, purpose)).decrypt(nonce, ciphertext, place)
    except (InvalidTag, ValueError):  # ValueError: it is too short
        return None
