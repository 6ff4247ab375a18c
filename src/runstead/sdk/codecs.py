"""Codecs for the values of runs: `App(codec=…)` and `Client(codec=…)`. See docs/codec.md.

A codec sees the JSON text of one input, config, step result, output or payload of a signal. Write one as a class with
`encode(data)` and `decode(data)`.
"""

import os
import zlib
from collections.abc import Mapping
from typing import Final

from runstead.sdk.models.value import Codec

__all__ = ["AesGcm", "Chain", "Codec", "Compression"]

_PLAIN: Final = b"\x00"
_DEFLATED: Final = b"\x01"
_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = (16, 24, 32)
_HEAD_BYTES: Final = 2
_DECODED_BYTES_MAX: Final = 1024 * 1024 * 1024


class Compression:
    """Compresses values of at least `bytes_min` bytes, where that makes them smaller. `level` is zlib's, 1 to 9."""

    def __init__(self, level: int = 6, bytes_min: int = 512) -> None:
        if not 1 <= level <= 9:
            raise ValueError(f"The level of zlib is 1 to 9, not {level}")
        self._level = level
        self._bytes_min = bytes_min

    def encode(self, data: bytes, /) -> bytes:
        """Return the data with one byte before it that names the form."""
        if len(data) >= self._bytes_min:
            deflated = zlib.compress(data, self._level)
            if len(deflated) < len(data):
                return _DEFLATED + deflated
        return _PLAIN + data

    def decode(self, data: bytes, /) -> bytes:
        """Return the data. Raise ValueError for bytes of another codec, zlib.error for damaged bytes."""
        form, rest = data[:1], data[1:]
        if form == _PLAIN:
            return rest
        if form != _DEFLATED:
            raise ValueError("These bytes were not made by Compression")
        inflater = zlib.decompressobj()
        text = inflater.decompress(rest, _DECODED_BYTES_MAX)
        if not inflater.eof:
            raise ValueError(f"The bytes are cut off, or stand for more than {_DECODED_BYTES_MAX} bytes")
        return text


class AesGcm:
    """Encrypts values with AES-GCM (NIST SP 800-38D), as `cryptography` implements it.

    `keys` are keys of 16, 24 or 32 bytes by an id of 1 to 255 bytes of UTF-8. New values are encrypted with the key
    `current`, and the stored bytes name it. To rotate: add the new key everywhere, then make it the current one, and
    remove the old one when no run is left whose values have it. Each value has a random nonce, so one key is for at
    most 2**32 values. Raise ValueError for another key, and for a `current` that is not among them.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - it takes long to import

        if current not in keys:
            raise ValueError(f"The current key {current!r} is not among the keys")
        for name, key in keys.items():
            if len(key) not in _KEY_BYTES:
                raise ValueError(f"The key {name!r} has {len(key)} bytes, and AES needs 16, 24 or 32")
            if not 1 <= len(name.encode()) <= 255:
                raise ValueError(f"The id of a key has 1 to 255 bytes: {name!r}")
        self._keys: dict[str, AESGCM] = {name: AESGCM(key) for name, key in keys.items()}
        self._current = current

    def encode(self, data: bytes, /) -> bytes:
        """Return a version, the key's id, a nonce and the encrypted data. The id is authenticated too."""
        name = self._current.encode()
        head, nonce = bytes((_VERSION, len(name))) + name, os.urandom(_NONCE_BYTES)
        return head + nonce + self._keys[self._current].encrypt(nonce, data, head)

    def decode(self, data: bytes, /) -> bytes:
        """Return the data. Raise LookupError for an unknown key, ValueError for bytes that it did not encrypt."""
        if len(data) < _HEAD_BYTES or data[0] != _VERSION:
            raise ValueError("These bytes were not encrypted by AesGcm")
        end = _HEAD_BYTES + data[1]
        head, nonce, encrypted = data[:end], data[end : end + _NONCE_BYTES], data[end + _NONCE_BYTES :]
        name = head[_HEAD_BYTES:].decode()
        if name not in self._keys:
            raise LookupError(f"there is no key {name!r}")
        return self._decrypt(name, nonce, encrypted, head)

    def _decrypt(self, name: str, nonce: bytes, encrypted: bytes, head: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        try:
            return self._keys[name].decrypt(nonce, encrypted, head)
        except InvalidTag:
            raise ValueError(f"the bytes were changed, or another key has the id {name!r}") from None

    def __repr__(self) -> str:
        return f"AesGcm({', '.join(self._keys)}; current: {self._current})"


class Chain:
    """Applies codecs one after the other: `Chain(Compression(), AesGcm(keys, "2026"))` compresses, then encrypts."""

    def __init__(self, *codecs: Codec) -> None:
        self._codecs = codecs

    def encode(self, data: bytes, /) -> bytes:
        """Encode with each codec, the first one first."""
        for codec in self._codecs:
            data = codec.encode(data)
        return data

    def decode(self, data: bytes, /) -> bytes:
        """Decode with each codec, the last one first."""
        for codec in reversed(self._codecs):
            data = codec.decode(data)
        return data
