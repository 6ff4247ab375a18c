"""Creates the engines that the settings name. This is the only file that imports engines, each only when it
is needed.

So a command that reads a SQLite store loads neither the PostgreSQL driver nor the server.
"""

# ruff: noqa: PLC0415

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runstead.ports.artifact_store import Artifacts
from runstead.ports.backup_place import Place
from runstead.ports.notifier import Notifier
from runstead.ports.store import Store
from runstead.ports.store.bulk import Bulk
from runstead.server.settings import Settings, is_postgres, sqlite_path

if TYPE_CHECKING:
    from runstead.engines.postgres.connection import Connection
    from runstead.security.signing import Keyring
    from runstead.security.stored_secrets import StoredSecrets


def make_store(settings: Settings, *, standbys: bool = False) -> Store:
    """Create the store that the database URL names. `standbys`: they serve reads if the settings name any."""
    if is_postgres(settings.database_url):
        from runstead.engines.postgres.store import PostgresStore

        read_url = settings.database_read_url if standbys else None
        return PostgresStore(settings.database_url, read_url=read_url)
    from runstead.engines.sqlite.store import SqliteStore

    return SqliteStore(sqlite_path(settings.database_url), synchronous=settings.sqlite_synchronous)


async def open_postgres(url: str) -> "Connection":
    """Open a session for an administrator."""
    from runstead.engines.postgres.connection import connect_alone

    return await connect_alone(url)


async def check_standbys(settings: Settings) -> list[tuple[str, str]]:
    """(address, state) of each standby of RUNSTEAD_DATABASE_READ_URL. "in use": it can serve reads."""
    from runstead.engines.postgres.standbys import Standbys

    assert settings.database_read_url is not None
    standbys = Standbys(settings.database_url, settings.database_read_url, logs=False)
    try:
        await standbys.open()
        return [(standby.address, standby.state) for standby in standbys.all]
    finally:
        await standbys.close()


def make_bulk(url: str) -> Bulk:
    """Create the engine that copies a store as plain tables."""
    if is_postgres(url):
        from runstead.engines.postgres.bulk import PostgresBulk

        return PostgresBulk(url)
    from runstead.engines.sqlite.bulk import SqliteBulk

    return SqliteBulk(sqlite_path(url))


def copy_sqlite_online(source: Path, target: Path, advance: Callable[[int, int], None]) -> None:
    """Copy the file of a SQLite store at one moment, while servers write to it. BackupError."""
    from runstead.engines.sqlite.online_copy import copy_online

    copy_online(source, target, advance)


def newest_migration() -> str:
    """Return the name of the newest migration of a SQLite store."""
    from runstead.engines.sql.sql_files import migrations

    return list(migrations("runstead.engines.sqlite"))[-1]


def make_place(url: str) -> Place:
    """Create the place of backups: a directory, `file:///<directory>` or `s3://<bucket>/<prefix>`. ValueError."""
    kind, separator, rest = url.partition("://")
    if kind == "s3" and rest and not rest.startswith(("/", "?")):
        try:
            from runstead.engines.backups.s3 import S3Place  # an extra
        except ModuleNotFoundError as missing:
            raise RuntimeError(
                "backups in S3-compatible storage need the package obstore: pip install 'runstead[s3]'"
            ) from missing
        return S3Place(url)
    if separator and not (kind == "file" and rest.startswith("/")):
        raise ValueError(f"a place of backups is a directory or s3://<bucket>/<prefix>, not {kind}://...")
    from runstead.engines.backups.folder import FolderPlace

    return FolderPlace(Path(url.removeprefix("file://")))


def oldest_sqlite() -> tuple[int, ...]:
    """Return the oldest supported version of the SQLite library."""
    from runstead.engines.sqlite.connection import VERSION_MIN

    return VERSION_MIN


def make_notifier(settings: Settings) -> Notifier:
    """Create the notifier: within the process, and between replicas if the settings allow several."""
    from runstead.engines.notifiers.local import LocalNotifier

    local, url = LocalNotifier(), settings.notifier
    if url is not None and url != "memory://":
        try:
            from runstead.engines.notifiers.nats import NatsNotifier  # an extra
        except ModuleNotFoundError as missing:
            raise RuntimeError(
                "RUNSTEAD_NOTIFIER names a NATS server, and the package nats-py is missing:"
                " pip install 'runstead[nats]'"
            ) from missing
        return NatsNotifier(url, local)
    if url is None and is_postgres(settings.database_url):
        from runstead.engines.notifiers.postgres import PostgresNotifier

        return PostgresNotifier(settings.database_url, local)
    return local


def make_artifacts(settings: Settings) -> Artifacts | None:
    """Create the artifact store of the setting. By default it is a folder next to the SQLite file, and None
    for a database that several machines may share.
    """
    from runstead.engines.artifacts.files import FilesystemArtifacts

    url = settings.artifacts_url
    if url is not None and url.startswith("s3://"):
        try:
            from runstead.engines.artifacts.s3 import S3Artifacts  # an extra
        except ModuleNotFoundError as missing:
            raise RuntimeError(
                "RUNSTEAD_ARTIFACTS_URL names S3-compatible storage, and the package obstore is missing:"
                " pip install 'runstead[s3]'"
            ) from missing
        return S3Artifacts(url)
    if url is not None:
        return FilesystemArtifacts(Path(url.removeprefix("file://")))
    if is_postgres(settings.database_url):
        return None
    path = sqlite_path(settings.database_url)
    return FilesystemArtifacts(path.with_name(f"{path.name}-artifacts"))


def encryption_key_file(settings: Settings) -> Path | None:
    """Return the file of the generated encryption keys, beside the SQLite file. None: the setting names the keys, or
    the store is not a SQLite file.
    """
    if settings.encryption_key is not None or is_postgres(settings.database_url):
        return None
    path = sqlite_path(settings.database_url)
    return path.with_name(f"{path.name}-encryption-key")


def make_secrets(settings: Settings, *, encrypted: bool) -> "StoredSecrets":
    """Create the encryption of stored secrets, with the keys of the setting or of the generated file. `encrypted`:
    the store has encrypted values, so secrets are never stored in plain text. ValueError if a key is not valid.
    """
    from runstead.security.stored_secrets import StoredSecrets, read_key_file, read_keys

    setting, file = settings.encryption_key, encryption_key_file(settings)
    if setting is not None:
        return StoredSecrets(partial(read_keys, setting))
    return StoredSecrets(
        lambda: read_key_file(file) if file is not None and file.exists() else [], refuse_new=encrypted
    )


def make_keyring(settings: Settings, store: Store, secrets: "StoredSecrets | None" = None) -> "Keyring":
    """Create the keyring of the server's signing keys. ValueError if the key file is not valid."""
    from runstead.security.signing import Keyring, read_file

    if settings.signing_key_file is None:
        return Keyring(store.signing_keys, secrets=secrets)
    path = Path(settings.signing_key_file)
    read_file(path)
    return Keyring(store.signing_keys, path)


def measure_updates(url: str, concurrency: int, seconds: float) -> float:
    """Measure the engine's baseline: committed single-row updates per second with this many callers."""
    if is_postgres(url):
        from runstead.engines.postgres.commit_benchmark import updates_per_second as on_postgres

        return asyncio.run(on_postgres(url, concurrency, seconds))
    from runstead.engines.sqlite.commit_benchmark import updates_per_second

    return asyncio.run(updates_per_second(sqlite_path(url), concurrency, seconds))
