"""Artifacts as files in a directory.

`runs/<uid>/<key>` is what a run has; `contents/<sha256>` is the same file, a hard link: whoever stores the same bytes
again links to it and takes no more room. The file system counts who has them: a content with one link left is in
nobody's hands.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from runstead.core import limits
from runstead.core.errors import Error
from runstead.ports.artifact_store import KEY, Content, TooLargeError

T = TypeVar("T")

#: An upload that was cut off by a crash is removed at a later start, when nobody can be writing it.
_ABANDONED_S: Final = 86_400


class FilesystemArtifacts:
    """`root` is created where it does not exist; without one, a temporary directory that is removed at the end."""

    def __init__(self, root: Path | None) -> None:
        self._given = root
        self._root = root or Path()

    async def open(self) -> None:
        try:
            await asyncio.to_thread(self._prepare)
        except OSError as trouble:
            raise RuntimeError(f"cannot keep artifacts in {self._root}: {trouble.strerror}") from trouble

    def _prepare(self) -> None:
        if self._given is None:
            self._root = Path(tempfile.mkdtemp(prefix="runstead-artifacts-"))
        for name in ("incoming", "contents", "runs"):
            (self._root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in (self._root / "incoming").iterdir():
            with suppress(OSError):
                if left.stat().st_mtime < time.time() - _ABANDONED_S:
                    left.unlink()

    async def close(self) -> None:
        if self._given is None and self._root != Path():
            await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)

    async def put(self, run: str, chunks: AsyncIterator[bytes], bytes_max: int) -> Content:
        incoming = self._root / "incoming" / uuid.uuid4().hex
        file = await _do(lambda: incoming.open("xb"))
        try:
            digest, size = hashlib.sha256(), 0
            async for chunk in _large(chunks):
                size += len(chunk)
                if size > bytes_max:
                    raise TooLargeError
                await _do(lambda part=chunk: _write(file, part, digest.update))  # type: ignore[misc]
            await _do(lambda: _settle(file))
            content = Content(f"{digest.hexdigest()}-{uuid.uuid4().hex[:16]}", size, digest.hexdigest())
            await _do(lambda: self._link(incoming, run, content))
        finally:
            # Not in a thread: this happens also where it is cancelled.
            file.close()
            incoming.unlink(missing_ok=True)
        return content

    def _link(self, incoming: Path, run: str, content: Content) -> None:
        place = self._place(run, content.key)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        shared = self._shared(content.sha256)
        try:
            os.link(shared, place)
        except (
            OSError
        ):  # nobody has it, or just let it go, or the file system takes no link, or no more of them
            incoming.rename(place)
            with suppress(OSError):
                shared.parent.mkdir(mode=0o700, exist_ok=True)
                os.link(place, shared)
        for folder in (place.parent, place.parent.parent):
            _sync(folder)

    async def read(self, run: str, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        place = self._place(run, key)
        file = await _do(lambda: place.open("rb"))
        try:
            await _do(lambda: file.seek(start))
            while start < end:
                wanted = min(limits.artifact_chunk_bytes, end - start)
                chunk = await _do(lambda size=wanted: file.read(size))  # type: ignore[misc]
                if not chunk:
                    raise _unavailable(OSError(0, "it is shorter than it was"))
                start += len(chunk)
                yield chunk
        finally:
            file.close()

    async def remove(self, run: str, key: str) -> None:
        await _do(lambda: self._remove(self._place(run, key)))

    def _remove(self, place: Path) -> None:
        place.unlink(missing_ok=True)
        shared = self._shared(place.name.partition("-")[0])
        # Whoever links to it meanwhile keeps the bytes: only the name to find them by goes.
        with suppress(FileNotFoundError):
            if shared.stat().st_nlink == 1:
                shared.unlink()

    async def remove_all(self, run: str) -> None:
        def job() -> None:
            folder = self._place(run, "0").parent
            with suppress(FileNotFoundError):
                for place in list(folder.iterdir()):
                    self._remove(place)
                folder.rmdir()

        await _do(job)

    def _place(self, run: str, key: str) -> Path:
        if not (KEY.fullmatch(run) and KEY.fullmatch(key)):
            raise FileNotFoundError(f"{run}/{key}")
        return self._root / "runs" / run / key

    def _shared(self, sha256: str) -> Path:
        return self._root / "contents" / sha256[:2] / sha256


def _write(file: BinaryIO, chunk: bytes, note: Callable[[bytes], None]) -> None:
    note(chunk)
    file.write(chunk)


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


async def _large(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Fewer and larger ones: each is handed to a thread."""
    parts, size = [], 0
    async for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= limits.artifact_chunk_bytes:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


async def _do(job: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(job)
    except FileNotFoundError:
        raise
    except OSError as trouble:
        raise _unavailable(trouble) from trouble


def _unavailable(trouble: OSError) -> Error:
    return Error(
        "STORE_UNAVAILABLE",
        f"The artifact's bytes could not be kept or read: {trouble.strerror}",
        retry_after_s=5,
    )
