"""Read a backup: verify its files by their digests, and put its artifacts into an artifact store."""

import os
from collections.abc import Callable
from pathlib import Path

from runstead.commands.backup import incomplete, manifest_of, names
from runstead.commands.copy import Advance
from runstead.commands.copy_artifacts import DamagedError, count, put, stored, verified
from runstead.core.backup import DATABASE, BackupError, Manifest, content_name
from runstead.ports.artifact_store import Artifacts
from runstead.ports.backup_place import Place
from runstead.ports.store.bulk import Bulk


async def select(
    place: Place, wanted: str | None, *, skip: Callable[[str], None] | None
) -> tuple[str, Manifest]:
    """Return the backup of this name, otherwise the newest one. `skip` gets the names of newer backups that are
    incomplete; without it, they are refused. BackupError.
    """
    found = await names(place)
    if wanted is not None and wanted not in found:
        raise BackupError(f"there is no backup {wanted} in {place.shown}")
    for name in reversed(found) if wanted is None else [wanted]:
        manifest = await manifest_of(place, name)
        if manifest is not None:
            return name, manifest
        if wanted is not None or skip is None:
            raise incomplete(place, name)
        skip(name)
    raise BackupError(f"there is no complete backup in {place.shown}")


async def fetch_database(place: Place, name: str, manifest: Manifest, path: Path) -> None:
    """Write the database of a backup to a new file of mode 0600. BackupError if it is missing or damaged."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            chunks = place.read(f"{name}/{DATABASE}")
            async for chunk in verified(chunks, manifest.database_bytes, manifest.database_sha256):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        raise BackupError(f"the file {name}/{DATABASE} is missing in {place.shown}") from None
    except DamagedError:
        raise BackupError(
            f"the file {name}/{DATABASE} in {place.shown} is damaged: its size or SHA-256 is not that of the manifest"
        ) from None


async def restore_contents(
    database: Bulk, place: Place, manifest: Manifest, target: Artifacts, advance: Advance
) -> int:
    """Put the contents of the backup into an artifact store. Returns their number. BackupError."""
    held, done, total = manifest.artifacts or {}, 0, await count(database)
    async for one in stored(database):
        if one.sha256 not in held:
            continue
        try:
            await put(one, place.read(content_name(one.sha256)), target)
        except FileNotFoundError:
            raise BackupError(_fault(place, one.sha256, missing=True)) from None
        except DamagedError:
            raise BackupError(_fault(place, one.sha256)) from None
        done += 1
        advance("restoring artifacts", done, total)
    return done


async def verify_contents(
    database: Bulk, place: Place, manifest: Manifest, report: Callable[[str], None], advance: Advance
) -> None:
    """Read all contents of the backup, and compare the manifest with the database. `report` gets each fault."""
    if manifest.runs != (runs := await database.count("runs")):
        report(f"the database has {runs:,} runs, and the manifest {manifest.runs:,}")
    if manifest.artifacts is None:
        return
    known = manifest.artifacts.keys() | {one.sha256 for one in manifest.missing}
    async for one in stored(database):
        if one.sha256 not in known:
            report(f"the manifest lacks an artifact of the run {one.run_id}: {one.sha256}")
    for done, (sha256, size) in enumerate(manifest.artifacts.items(), 1):
        try:
            async for _ in verified(place.read(content_name(sha256)), size, sha256):
                pass
        except FileNotFoundError:
            report(_fault(place, sha256, missing=True))
        except DamagedError:
            report(_fault(place, sha256))
        advance("verifying artifacts", done, len(manifest.artifacts))


def _fault(place: Place, sha256: str, *, missing: bool = False) -> str:
    problem = "missing" if missing else "damaged: its bytes do not have the SHA-256 of its name"
    return f"the file {content_name(sha256)} in {place.shown} is {problem}"
