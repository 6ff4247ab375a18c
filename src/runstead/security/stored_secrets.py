"""Encryption of secrets in the store with the instance's encryption keys (RUNSTEAD_ENCRYPTION_KEY).

An encrypted value is the text `encrypted:1:<key id>:<base64url of nonce, ciphertext and tag>`. It is bound to its
table, column and row, so a value that is moved to another row cannot be decrypted.
"""

import hmac
import os
import re
import secrets
import tempfile
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from runstead.core import limits
from runstead.core.errors import Error
from runstead.security.encryption import decrypt, derive, encrypt

SETTING: Final = "RUNSTEAD_ENCRYPTION_KEY"
_PREFIX: Final = "encrypted:1:"
_ENCRYPTED: Final = re.compile(rf"{_PREFIX}([0-9a-f]{{8}}):([A-Za-z0-9_=-]+)")
_KEY: Final = re.compile(
    rf"[A-Za-z0-9+/_=-]{{{limits.encryption_key_chars_min},{limits.encryption_key_chars_max}}}"
)
_PURPOSE: Final = "stored secrets"
_SALTS: Final = "salts of digests"
_log = structlog.get_logger(__name__)


def new_key() -> str:
    """Return a new key: 256 random bits as text."""
    return secrets.token_urlsafe(32)


def key_id(key: bytes) -> str:
    """Return the eight characters that name a key in the values that it encrypted. They do not reveal the key."""
    return derive(key, "encryption key id").hex()[:8]


def encrypted_with(value: str) -> str | None:
    """Return the id of the key that encrypted a stored value, None if the value is plain text."""
    found = _ENCRYPTED.fullmatch(value)
    return found[1] if found else None


def read_keys(setting: str) -> list[bytes]:
    """Return the keys of the setting: values and files (`file:<path>`, or a path), separated by commas. A file holds
    one key per line. ValueError with a message for the operator, which shows no key.
    """
    keys: list[bytes] = []
    for entry in filter(None, (part.strip() for part in setting.split(","))):
        if entry.startswith(("file:", "/", "./")):
            keys += read_key_file(Path(entry.removeprefix("file:")))
        else:
            keys.append(_checked(entry, SETTING))
    if not 1 <= len(keys) <= limits.encryption_keys_max:
        raise ValueError(f"{SETTING} must name 1 to {limits.encryption_keys_max} keys, not {len(keys)}")
    return keys


def read_key_file(path: Path) -> list[bytes]:
    """Return the keys of a file, one per line; the first one encrypts. ValueError with a message for the operator."""
    try:
        lines = path.read_text().split()
    except (OSError, ValueError):
        raise ValueError(f"{SETTING}: the file {path} cannot be read") from None
    if not lines:
        raise ValueError(f"{SETTING}: the file {path} holds no key")
    return [_checked(line, str(path)) for line in lines]


def _checked(key: str, where: str) -> bytes:
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"{where}: an encryption key has {limits.encryption_key_chars_min} to"
            f" {limits.encryption_key_chars_max} characters of base64 or hex: make one with"
            " `runstead keys encryption create`"
        )
    return key.encode()


def add_key(path: Path) -> str:
    """Put a new key at the beginning of a file, which only its owner can read (mode 0600). Returns the key's id.

    The file is replaced at once, so a reader finds the old or the new content. A file that another process creates
    at the same time is kept.
    """
    earlier = read_key_file(path) if path.exists() else []
    key = new_key()
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write("".join(f"{each}\n" for each in (key, *(old.decode() for old in earlier))))
            file.flush()
            os.fsync(file.fileno())
        if earlier:
            os.replace(name, path)  # noqa: PTH105 - a name, not a path
        else:
            os.link(name, path)
    except FileExistsError:
        return key_id(read_key_file(path)[0])
    finally:
        Path(name).unlink(missing_ok=True)
    return key_id(key.encode())


class StoredSecrets:
    """Encrypts values with the first key, and decrypts values of every key.

    Without keys, values are stored in plain text. With `refuse_new`, new values are refused instead: the store has
    values of a missing key. `read` returns the keys. It is called again for every new value, and when a value needs an
    unknown key, so a key that is added to or removed from a file takes effect without a restart.
    """

    def __init__(self, read: Callable[[], Sequence[bytes]] = tuple, *, refuse_new: bool = False) -> None:
        self._read = read
        self._refuse_new = refuse_new
        self._load()

    def _load(self) -> None:
        keys = self._read()
        self._keys = {key_id(key): key for key in keys}
        #: The id of the key that encrypts. None: values are stored in plain text.
        self.current = key_id(keys[0]) if keys else None

    def has_key(self, wanted: str) -> bool:
        """Whether a value of this key can be decrypted."""
        if wanted not in self._keys:
            self._reload()
        return wanted in self._keys

    def _reload(self) -> None:
        try:
            self._load()
        except ValueError as trouble:
            _log.warning("the encryption keys could not be reloaded", reason=str(trouble))

    def encrypt_if_possible(self, place: str, row: str, value: str) -> str | None:
        """Return the encrypted value. None without a key: the value must never be stored in plain text."""
        self._reload()
        return None if self.current is None else self.encrypt(place, row, value)

    def keyed(self, salt: bytes) -> bytes:
        """Return a salt that cannot be computed without the first key. Without keys, it is the same salt."""
        self._reload()
        if self.current is None:
            return salt
        return hmac.digest(derive(self._keys[self.current], _SALTS), salt, "sha256")

    def encrypt(self, place: str, row: str, value: str) -> str:
        """Return the value as the store may hold it. Raises ENCRYPTION_KEY_MISSING, INVALID_REQUEST."""
        self._reload()
        if self.current is None:
            if self._refuse_new:
                raise Error(
                    "ENCRYPTION_KEY_MISSING",
                    f"No secret can be stored: the server has no encryption key ({SETTING})",
                )
            if value.startswith(_PREFIX):
                raise Error("INVALID_REQUEST", f"A secret cannot begin with {_PREFIX}")
            return value
        encrypted = encrypt(self._keys[self.current], _PURPOSE, value.encode(), _bound(place, row))
        return f"{_PREFIX}{self.current}:{urlsafe_b64encode(encrypted).decode()}"

    def decrypt(self, place: str, row: str, value: str) -> str:
        """Return the plain text of a stored value. Raises ENCRYPTION_KEY_MISSING."""
        found = _ENCRYPTED.fullmatch(value)
        if found is None:
            return value
        if not self.has_key(found[1]):
            raise _unreadable(place, row, f"the server does not have the encryption key {found[1]}")
        plain = decrypt(self._keys[found[1]], _PURPOSE, urlsafe_b64decode(found[2]), _bound(place, row))
        if plain is None:
            raise _unreadable(place, row, "it was changed, or belongs to another row")
        return plain.decode()


def _bound(place: str, row: str) -> bytes:
    return f"{place}\0{row}".encode()


def _unreadable(place: str, row: str, reason: str) -> Error:
    return Error("ENCRYPTION_KEY_MISSING", f"{place} of {row} cannot be decrypted: {reason}")
