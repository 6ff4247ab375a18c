"""Copy the contents of artifacts after the rows that name them, between artifact stores of any kind.

A content keeps its key, so the rows stay as they are. A content that the target has is not copied again.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from runstead.commands.copy import Advance, CopyError
from runstead.core.runs.artifact import KEY_MEMBER, OWNER_MEMBER, decode_artifacts
from runstead.ports.artifact_store import Artifacts
from runstead.ports.store.bulk import Bulk


class StoredContent(NamedTuple):
    """A content that a run names. `uid`: that of the run; `size` in bytes."""

    run_id: str
    uid: str
    key: str
    size: int
    sha256: str


class DamagedError(Exception):
    """The bytes of a content are not those of its sha256."""


async def stored(store: Bulk) -> AsyncIterator[StoredContent]:
    """Yield each artifact whose content is stored."""
    columns = (await store.tables())["runs"].columns
    run_id, uid, artifacts = (columns.index(name) for name in ("run_id", "uid", "artifacts"))
    mark = None
    while True:
        rows, mark = await store.read("runs", mark)
        for row in rows:
            for one in decode_artifacts(row[artifacts]):
                if KEY_MEMBER in one:
                    owner = one.get(OWNER_MEMBER, row[uid])
                    yield StoredContent(row[run_id], owner, one[KEY_MEMBER], one["size"], one["sha256"])
        if mark is None:
            return


async def count(store: Bulk) -> int:
    """Return the number of artifacts whose content is stored."""
    return sum([1 async for _ in stored(store)])


async def copy(store: Bulk, source: Artifacts, target: Artifacts, advance: Advance) -> int:
    """Copy all contents that the store names. Returns their number. Raises CopyError for a missing or other content."""
    done, total = 0, await count(store)
    async for one in stored(store):
        try:
            await put(one, source.read(one.uid, one.key, 0, one.size), target)
        except DamagedError:
            raise CopyError(
                f"the bytes of an artifact of the run {one.run_id} are not those of its sha256"
            ) from None
        except FileNotFoundError:
            raise CopyError(
                f"the artifact store of the source lacks an artifact of the run {one.run_id}"
            ) from None
        done += 1
        advance("copying artifacts", done, total)
    return done


async def put(one: StoredContent, chunks: AsyncIterator[bytes], target: Artifacts) -> None:
    """Store a content under its key, unless the target has it. DamagedError."""
    if not await _has(target, one.uid, one.key, one.size):
        await target.put(one.uid, verified(chunks, one.size, one.sha256), one.size, one.key)


async def verified(chunks: AsyncIterator[bytes], size: int, sha256: str) -> AsyncIterator[bytes]:
    """Yield the chunks. DamagedError instead of the end if they have another size or sha256."""
    digest, left = hashlib.sha256(), size
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        digest.update(chunk)
        yield chunk
    if left or digest.hexdigest() != sha256:
        raise DamagedError


async def _has(target: Artifacts, uid: str, key: str, size: int) -> bool:
    try:
        async for _ in target.read(uid, key, max(0, size - 1), size):
            return True
    except FileNotFoundError:
        return False
    return size == 0
