"""Encrypt the secrets in a store, and count them by key. Secrets stay readable while this runs."""

from collections import Counter
from collections.abc import AsyncIterator

import structlog

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.secret import PLACES, SecretCount, StoredSecret
from runstead.ports.store import Replacement, Store
from runstead.security.stored_secrets import StoredSecrets, encrypted_with

_log = structlog.get_logger(__name__)


async def _pages(store: Store, place: str) -> AsyncIterator[list[StoredSecret]]:
    after = ""
    while page := await store.secrets.page(place, after, limits.secrets_per_slice_max):
        yield page
        after = page[-1].row


async def encrypt_plain(store: Store, secrets: StoredSecrets) -> int:
    """Encrypt every secret that is stored in plain text. Returns their number."""
    return await _encrypt(store, secrets, plain_only=True)


async def rotate(store: Store, secrets: StoredSecrets) -> int:
    """Encrypt every secret with the current key that is not encrypted with it. Returns their number.

    Secrets whose key is missing stay as they are.
    """
    return await _encrypt(store, secrets, plain_only=False)


async def _encrypt(store: Store, secrets: StoredSecrets, *, plain_only: bool) -> int:
    changed = 0
    for place in PLACES:
        async for page in _pages(store, place):
            replacements = []
            for row, value in page:
                key_id = encrypted_with(value)
                if key_id is None or not (
                    plain_only or key_id == secrets.current or not secrets.has_key(key_id)
                ):
                    try:
                        plain = secrets.decrypt(place, row, value)
                    except Error as error:  # it was changed: no key decrypts it
                        _log.error("a stored secret cannot be decrypted", reason=error.message)
                        continue
                    replacements.append(Replacement(row, value, secrets.encrypt(place, row, plain)))
            if replacements:
                await store.secrets.replace(place, replacements)
                changed += len(replacements)
    return changed


async def count(store: Store, secrets: StoredSecrets) -> list[SecretCount]:
    """Count the secrets of each place by the key that encrypted them."""
    counts: list[SecretCount] = []
    for place in PLACES:
        found: Counter[str | None] = Counter()
        async for page in _pages(store, place):
            found.update(encrypted_with(value) for _, value in page)
        for key_id, number in sorted(found.items(), key=lambda item: item[0] or ""):
            readable = key_id is None or secrets.has_key(key_id)
            counts.append(SecretCount(place, key_id, number, readable, current=key_id == secrets.current))
    return counts
