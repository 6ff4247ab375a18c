"""Opens the encryption of a store's secrets: at the start of a server, and for commands."""

from collections.abc import Callable

import structlog

from runstead.commands.secrets import count, encrypt_plain
from runstead.core.errors import Error
from runstead.core.secret import SecretCount
from runstead.ports.store import Store
from runstead.security.stored_secrets import SETTING, StoredSecrets, add_key
from runstead.server.engines import encryption_key_file, make_secrets
from runstead.server.settings import Settings, is_postgres

_log = structlog.get_logger(__name__)


async def open_secrets(settings: Settings, store: Store, announce: Callable[[str], None]) -> StoredSecrets:
    """Return the encryption of an open store's secrets, after encrypting those that are in plain text.

    `announce` gets a sentence about a generated key. ValueError if a key is not valid.
    """
    secrets, counts = await prepare(settings, store, announce)
    for each in counts:
        if not each.readable:
            _log.error(
                f"secrets cannot be decrypted: set {SETTING} to the key that encrypted them",
                key_id=each.key_id,
                secrets=each.place,
                number=each.number,
            )
    if secrets.current is not None and any(each.key_id is None for each in counts):
        try:
            _log.info("encrypted stored secrets", number=await encrypt_plain(store, secrets))
        except Error as error:  # such as a full disk: the next start tries again
            _log.error("secrets are still stored in plain text", reason=error.message)
    elif secrets.current is None and is_postgres(settings.database_url):
        _log.warning(f"secrets are stored in plain text: set {SETTING}, the same for every replica")
    return secrets


async def prepare(
    settings: Settings, store: Store, announce: Callable[[str], None]
) -> tuple[StoredSecrets, list[SecretCount]]:
    """Return the encryption of an open store's secrets and their counts.

    A key file is generated beside a SQLite file if there is neither a setting nor an encrypted value.
    """
    secrets, counts = await examine(settings, store)
    file = encryption_key_file(settings)
    if secrets.current is None and file is not None and not any(each.key_id for each in counts):
        try:
            add_key(file)
        except OSError as error:
            _log.warning(
                "secrets are stored in plain text: no key can be created", file=str(file), reason=str(error)
            )
            return secrets, counts
        announce(
            f"created the encryption key {file}: secrets in the database cannot be read without it."
            f"\n  Back it up apart from the database, or set {SETTING}"
        )
        return await examine(settings, store)
    return secrets, counts


async def examine(settings: Settings, store: Store) -> tuple[StoredSecrets, list[SecretCount]]:
    """Return the encryption of an open store's secrets and their counts. Changes nothing."""
    counts = await count(store, make_secrets(settings, encrypted=False))
    return make_secrets(settings, encrypted=any(each.key_id for each in counts)), counts
