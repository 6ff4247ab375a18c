"""Copy the contents of artifacts after the rows that name them, between artifact stores of any kind.

A content keeps its key, so the rows stay as they are. A content that the target has is not copied again.
"""

from collections.abc import AsyncIterator

from runstead.commands.copy import Advance, CopyError
from runstead.core.runs.artifact import KEY_MEMBER, decode_artifacts
from runstead.ports.artifact_store import Artifacts
from runstead.ports.store.bulk import Bulk


async def stored(store: Bulk) -> AsyncIterator[tuple[str, str, str, int, str]]:
    """Yield each artifact whose content is stored: run id, the run's uid, the content's key, size and sha256."""
    columns = (await store.tables())["runs"].columns
    run_id, uid, artifacts = (columns.index(name) for name in ("run_id", "uid", "artifacts"))
    mark = None
    while True:
        rows, mark = await store.read("runs", mark)
        for row in rows:
            for one in decode_artifacts(row[artifacts]):
                if KEY_MEMBER in one:
                    yield row[run_id], row[uid], one[KEY_MEMBER], one["size"], one["sha256"]
        if mark is None:
            return


async def count(store: Bulk) -> int:
    """Return the number of artifacts whose content is stored."""
    return sum([1 async for _ in stored(store)])


async def copy(store: Bulk, source: Artifacts, target: Artifacts, advance: Advance) -> int:
    """Copy all contents that the store names. Returns their number. Raises CopyError for a missing or other content."""
    done, total = 0, await count(store)
    async for run_id, uid, key, size, sha256 in stored(store):
        try:
            if not await _has(target, uid, key, size):
                content = await target.put(uid, source.read(uid, key, 0, size), size, key)
                if content.sha256 != sha256:
                    await target.remove(uid, key)
                    raise CopyError(
                        f"the bytes of an artifact of the run {run_id} are not those of its sha256"
                    )
        except FileNotFoundError:
            raise CopyError(
                f"the artifact store of the source lacks an artifact of the run {run_id}"
            ) from None
        done += 1
        advance("copying artifacts", done, total)
    return done


async def _has(target: Artifacts, uid: str, key: str, size: int) -> bool:
    try:
        async for _ in target.read(uid, key, max(0, size - 1), size):
            return True
    except FileNotFoundError:
        return False
    return size == 0
