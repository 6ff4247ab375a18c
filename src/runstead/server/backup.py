"""`runstead backup`, `restore` and `verify-backup`: they need no running server, and work beside one."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from runstead import __version__
from runstead.commands import backup as saving, copy_artifacts, restore as reading
from runstead.commands.copy import Advance, copy
from runstead.core.backup import DATABASE, MANIFEST, BackupError, Manifest, Missing, encode, name_of
from runstead.core.clock import now_ms
from runstead.core.runs.invariants import Violation
from runstead.core.secret import SecretCount
from runstead.engines.artifacts.files import sync
from runstead.ports.artifact_store import Artifacts
from runstead.ports.backup_place import Place
from runstead.ports.store.bulk import Bulk
from runstead.server import administration, engines
from runstead.server.settings import Settings, is_postgres, load, sqlite_path


class Saved(NamedTuple):
    """A finished backup. `copied`: the number of contents that the place did not have before. `pruned`: the names of
    deleted backups.
    """

    name: str
    manifest: Manifest
    copied: int
    pruned: list[str]


class Restored(NamedTuple):
    """`artifacts`: their number, None if the backup was made without. `secrets`: those of the restored store."""

    name: str
    manifest: Manifest
    artifacts: int | None
    runs: int
    violations: list[Violation]
    secrets: list[SecretCount]


async def backup(
    database: str | None,
    to: str,
    advance: Advance,
    *,
    artifacts_url: str | None = None,
    without_artifacts: bool = False,
    keep: int | None = None,
) -> Saved:
    """Back up a store that servers may write to. BackupError."""
    settings, place = _settings(database, artifacts_url), engines.make_place(to)
    if pending := await engines.make_store(settings).pending():
        raise ValueError(
            f"the database lacks the migration {pending[0].name}: back it up with the servers' version"
        )
    with place.writing() as folder:
        created_at = now_ms()
        name, file = name_of(created_at), folder / DATABASE
        await _save_database(settings, file, advance)
        saved, missing = saving.SavedContents({}, 0, []), tuple[Missing, ...]()
        async with _open(f"sqlite:///{file}") as snapshot:
            runs = await snapshot.count("runs")
            if not without_artifacts:
                async with _artifacts_of(settings, await copy_artifacts.count(snapshot)) as artifacts:
                    if artifacts is not None:
                        saved = await saving.save_contents(snapshot, artifacts, place, advance)
        if saved.absent:
            async with _open(settings.database_url) as store:
                missing = await saving.explain(saved.absent, store)
        manifest = Manifest(
            created_at=created_at,
            version=__version__,
            engine="postgresql" if is_postgres(settings.database_url) else "sqlite",
            migration=engines.newest_migration(),
            database_bytes=file.stat().st_size,
            database_sha256=await asyncio.to_thread(_sha256, file),
            runs=runs,
            artifacts=None if without_artifacts else saved.kept,
            missing=missing,
        )
        await place.put_file(f"{name}/{DATABASE}", file)
        await place.put(f"{name}/{MANIFEST}", _one(encode(manifest)))
        try:
            pruned = [] if keep is None else await saving.prune(place, keep)
        except BackupError as error:
            raise BackupError(f"the backup {name} is complete, but no other was deleted: {error}") from None
    return Saved(name, manifest, saved.copied, pruned)


async def _save_database(settings: Settings, file: Path, advance: Advance) -> None:
    url = settings.database_url
    if not is_postgres(url):
        await asyncio.to_thread(
            engines.copy_sqlite_online, sqlite_path(url), file, partial(advance, "copying pages")
        )
        return
    await administration.migrate(f"sqlite:///{file}")
    target = engines.make_bulk(f"sqlite:///{file}")
    await target.open_target()
    try:
        async with _open(url) as source:
            await copy(source, target, advance)
    finally:
        await target.close()


async def restore(
    place_url: str,
    database: str | None,
    advance: Advance,
    note: Callable[[str], None],
    *,
    artifacts_url: str | None = None,
    name: str | None = None,
) -> Restored:
    """Restore a backup into a new store: artifacts first, then the database. A restore that was interrupted can be
    repeated. `note` gets a sentence for each newer backup that is incomplete. BackupError.
    """
    settings, place = _settings(database, artifacts_url), engines.make_place(place_url)
    await _refuse_existing(settings)
    name, manifest = await reading.select(
        place, name, skip=lambda found: note(f"skipped: {saving.incomplete(place, found)}")
    )
    number: int | None = None
    async with _fetched(place, name, manifest, _beside(settings)) as file:
        async with _open(f"sqlite:///{file}") as bulk:
            if manifest.artifacts is not None:
                async with _artifacts_of(settings, len(manifest.artifacts)) as artifacts:
                    number = 0
                    if artifacts is not None:
                        number = await reading.restore_contents(bulk, place, manifest, artifacts, advance)
        if is_postgres(settings.database_url):
            without = administration.ArtifactUrls(left_out=True)
            await administration.copy(f"sqlite:///{file}", settings.database_url, advance, without)
        else:
            path = sqlite_path(settings.database_url)
            os.link(file, path)  # refuses a file that exists by now
            sync(path.parent)
    violations: list[Violation] = []
    runs, _ = await administration.check(settings.database_url, violations.append, _progress(advance))
    return Restored(
        name=name,
        manifest=manifest,
        artifacts=number,
        runs=runs,
        violations=violations,
        secrets=await administration.secrets(settings.database_url),
    )


async def verify(
    place_url: str, name: str | None, advance: Advance, report: Callable[[str], None]
) -> tuple[str, Manifest]:
    """Read a whole backup and check its database in a temporary copy. `report` gets a sentence for each fault.
    BackupError if the manifest or the database cannot be read.
    """
    place = engines.make_place(place_url)
    name, manifest = await reading.select(place, name, skip=None)
    async with _fetched(place, name, manifest, None) as file:
        url = f"sqlite:///{file}"
        async with _open(url) as bulk:
            await reading.verify_contents(bulk, place, manifest, report, advance)
        await administration.check(
            url, lambda found: report(f"{found.sentence} ({found.rule})"), _progress(advance)
        )
    return name, manifest


def _settings(database: str | None, artifacts_url: str | None) -> Settings:
    own = {} if artifacts_url is None else {"RUNSTEAD_ARTIFACTS_URL": artifacts_url}
    return load({**os.environ, **own}, database=database)


async def _refuse_existing(settings: Settings) -> None:
    """BackupError if the store exists, or has rows. A PostgreSQL database is migrated."""
    url = settings.database_url
    if not is_postgres(url):
        path = sqlite_path(url)
        for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            if each.exists():  # SQLite would apply a log to the restored file
                raise BackupError(f"the file {each} exists: restore to another file, or move it away first")
        return
    await engines.make_store(settings).migrate()
    target = engines.make_bulk(url)
    await target.open_target()
    try:
        unfinished = await target.progress() is not None
        full = (
            [] if unfinished else [each for each in await target.tables() if not await target.is_empty(each)]
        )
    finally:
        await target.close()
    if full:
        raise BackupError(
            f"the database is not empty: it has rows in {', '.join(full)}; restore to a new one"
        )


def _beside(settings: Settings) -> Path | None:
    """Return the directory of the SQLite file, so that the file of a restore only needs another name."""
    return (
        None if is_postgres(settings.database_url) else sqlite_path(settings.database_url).parent.absolute()
    )


@asynccontextmanager
async def _fetched(place: Place, name: str, manifest: Manifest, beside: Path | None) -> AsyncIterator[Path]:
    """Yield a verified and migrated copy of the backup's database, removed at the end."""
    with tempfile.TemporaryDirectory(prefix=".runstead-restore-", dir=beside) as folder:
        file = Path(folder) / DATABASE
        await reading.fetch_database(place, name, manifest, file)
        await administration.migrate(f"sqlite:///{file}")
        yield file


@asynccontextmanager
async def _open(url: str) -> AsyncIterator[Bulk]:
    bulk = engines.make_bulk(url)
    try:
        await bulk.open_source(online=True)
        await bulk.tables()
        yield bulk
    finally:
        await bulk.close()


@asynccontextmanager
async def _artifacts_of(settings: Settings, number: int) -> AsyncIterator[Artifacts | None]:
    """Open the artifact store. None if there is none and there are no artifacts. BackupError."""
    artifacts = engines.make_artifacts(settings)
    if artifacts is None and number:
        raise BackupError(
            f"there are {number:,} artifact(s) and no artifact store: name it with --artifacts"
            " or RUNSTEAD_ARTIFACTS_URL"
        )
    if artifacts is None or not number:
        yield None
        return
    await artifacts.open()
    try:
        yield artifacts
    finally:
        await artifacts.close()


def _progress(advance: Advance) -> Callable[[int, int, int], None]:
    return lambda _runs, reached, newest: advance("checking runs", reached, newest)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
