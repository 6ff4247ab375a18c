"""Back up a store: a file of its database at one moment, then the contents that this database names.

A content is stored before the row that names it is committed, and its bytes never change. So when the database is
copied, all contents that the copy names exist. Later the server deletes a content only with the row that names it: a
content that is missing then, and that the store still names, was lost by the artifact store.
"""

from collections.abc import Iterable
from typing import NamedTuple

from runstead.commands.copy import Advance
from runstead.commands.copy_artifacts import DamagedError, StoredContent, count, stored, verified
from runstead.core.backup import (
    ARTIFACTS,
    MANIFEST,
    NAME,
    BackupError,
    Manifest,
    Missing,
    content_name,
    decode,
)
from runstead.ports.artifact_store import Artifacts
from runstead.ports.backup_place import Place
from runstead.ports.store.bulk import Bulk


class SavedContents(NamedTuple):
    """`kept`: sha256 → bytes of all contents of the backup; `copied`: the number of those that the place did not have
    before. `absent`: contents that could not be read.
    """

    kept: dict[str, int]
    copied: int
    absent: list[StoredContent]


async def save_contents(
    snapshot: Bulk, artifacts: Artifacts, place: Place, advance: Advance
) -> SavedContents:
    """Copy the contents that the snapshot names and the place lacks. Equal bytes are stored once."""
    held = {name.rpartition("/")[2]: size for name, size in (await place.files(ARTIFACTS)).items()}
    kept: dict[str, int] = {}
    absent: list[StoredContent] = []
    done, copied, total = 0, 0, await count(snapshot)
    async for one in stored(snapshot):
        done += 1
        advance("backing up artifacts", done, total)
        if held.get(one.sha256) != one.size:
            chunks = artifacts.read(one.uid, one.key, 0, one.size)
            try:
                await place.put(content_name(one.sha256), verified(chunks, one.size, one.sha256))
            except (FileNotFoundError, DamagedError):
                absent.append(one)
                continue
            held[one.sha256] = one.size
            copied += 1
        kept[one.sha256] = one.size
    return SavedContents(kept, copied, [one for one in absent if one.sha256 not in kept])


async def explain(absent: Iterable[StoredContent], store: Bulk) -> tuple[Missing, ...]:
    """Return for each absent content whether the server deleted it: the store, read later, does not name it."""
    named = {(one.uid, one.key) async for one in stored(store)}
    return tuple(Missing(one.run_id, one.sha256, (one.uid, one.key) not in named) for one in absent)


async def names(place: Place) -> list[str]:
    """Return the names of all backups, complete or not, oldest first."""
    return [folder for folder in await place.folders() if NAME.fullmatch(folder)]


async def manifest_of(place: Place, name: str) -> Manifest | None:
    """Read the manifest of a backup. None if it has none. BackupError if it is damaged."""
    try:
        encoded = b"".join([chunk async for chunk in place.read(f"{name}/{MANIFEST}")])
    except FileNotFoundError:
        return None
    return decode(name, encoded)


async def prune(place: Place, keep: int) -> list[str]:
    """Delete all but the newest complete backups, all incomplete ones, and the contents that no backup names then.

    Returns the names of the deleted backups. BackupError, and nothing is deleted, if a manifest is damaged.
    """
    found = {name: await manifest_of(place, name) for name in await names(place)}
    kept = [name for name, manifest in found.items() if manifest is not None][-keep:]
    needed = {sha256 for name in kept for sha256 in _contents(found[name])}
    deleted = [name for name in found if name not in kept]
    for name in deleted:
        await place.remove(f"{name}/{MANIFEST}")  # first, so that no incomplete backup has one
        for file in await place.files(name):
            await place.remove(file)
    for file in await place.files(ARTIFACTS):
        if file.rpartition("/")[2] not in needed:
            await place.remove(file)
    return deleted


def _contents(manifest: Manifest | None) -> Iterable[str]:
    return () if manifest is None else manifest.artifacts or ()


def incomplete(place: Place, name: str) -> BackupError:
    return BackupError(
        f"the backup {name} in {place.shown} has no {MANIFEST}: it was interrupted, or is not finished"
    )
