"""Artifacts as files in a directory.

`runs/<uid>/<key>` is a run's artifact. `contents/<sha256>` is a hard link to the same file, so equal bytes are stored
once. A content whose link count is 1 belongs to no run.
"""

import asyncio
import hashlib
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import structlog

from runstead.core import limits
from runstead.core.errors import Error
from runstead.ports.artifact_store import KEY, Content, TooLargeError

T = TypeVar("T")
_FOLDERS: Final = ("incoming", "contents", "runs")
_log = structlog.get_logger(__name__)

#: Age at which an upload that a crash interrupted is removed at the start.
_ABANDONED_UPLOAD_S: Final = 86_400


class FilesystemArtifacts:
    """`root` is created if it does not exist. None: a temporary directory, removed by `close`."""

    def __init__(self, root: Path | None) -> None:
        self._configured_root = root
        self._root = root or Path()

    async def open(self) -> None:
        try:
            await asyncio.to_thread(self._prepare)
        except OSError as error:
            raise RuntimeError(f"cannot keep artifacts in {self._root}: {error.strerror}") from error

    def _prepare(self) -> None:
        if self._configured_root is None:
            self._root = Path(tempfile.mkdtemp(prefix="runstead-artifacts-"))
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _FOLDERS:
            (self._root / name).mkdir(mode=0o700, exist_ok=True)
        if {entry.name for entry in self._root.iterdir()} <= set(
            _FOLDERS
        ):  # the directory is for artifacts only
            _protect(self._root)
        for name in _FOLDERS:
            _protect(self._root / name)
        for upload in (self._root / "incoming").iterdir():
            with suppress(OSError):
                if upload.stat().st_mtime < time.time() - _ABANDONED_UPLOAD_S:
                    upload.unlink()

    async def close(self) -> None:
        if self._configured_root is None and self._root != Path():
            await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)

    async def put(
        self, run: str, chunks: AsyncIterator[bytes], bytes_max: int, key: str | None = None
    ) -> Content:
        incoming = self._root / "incoming" / uuid.uuid4().hex
        file = await _in_thread(lambda: _create(incoming))
        try:
            digest, size = hashlib.sha256(), 0
            async for chunk in _joined_chunks(chunks):
                size += len(chunk)
                if size > bytes_max:
                    raise TooLargeError
                await _in_thread(lambda part=chunk: _write(file, part, digest.update))  # type: ignore[misc]
            await _in_thread(lambda: _flush(file))
            sha256 = digest.hexdigest()
            content = Content(key or f"{sha256}-{uuid.uuid4().hex[:16]}", size, sha256)
            await _in_thread(lambda: self._link(incoming, run, content))
        finally:
            # Not in a thread, so that it also happens after a cancellation.
            file.close()
            incoming.unlink(missing_ok=True)
        return content

    def _link(self, incoming: Path, run: str, content: Content) -> None:
        path = self._path(run, content.key)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not content.key.startswith(
            f"{content.sha256}-"
        ):  # copied from S3: `_remove` finds no shared content
            incoming.rename(path)
            sync(path.parent)
            sync(path.parent.parent)
            return
        shared = self._content_path(content.sha256)
        try:
            os.link(shared, path)
        except OSError:  # not stored, just removed, or the file system refuses another link
            incoming.rename(path)
            with suppress(OSError):
                shared.parent.mkdir(mode=0o700, exist_ok=True)
                os.link(path, shared)
        for folder in (path.parent, path.parent.parent):
            sync(folder)

    async def read(self, run: str, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        path = self._path(run, key)
        file = await _in_thread(lambda: path.open("rb"))
        try:
            await _in_thread(lambda: file.seek(start))
            while start < end:
                wanted = min(limits.artifact_chunk_bytes, end - start)
                chunk = await _in_thread(lambda size=wanted: file.read(size))  # type: ignore[misc]
                if not chunk:
                    raise _unavailable(OSError(0, "it is shorter than it was"))
                start += len(chunk)
                yield chunk
        finally:
            file.close()

    async def remove(self, run: str, key: str) -> None:
        await _in_thread(lambda: self._remove(self._path(run, key)))

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        shared = self._content_path(path.name.partition("-")[0])
        # A concurrent link keeps the bytes: only this name is removed.
        with suppress(FileNotFoundError):
            if shared.stat().st_nlink == 1:
                shared.unlink()

    async def remove_all(self, run: str) -> None:
        def job() -> None:
            folder = self._path(run, "0").parent
            with suppress(FileNotFoundError):
                for path in list(folder.iterdir()):
                    self._remove(path)
                folder.rmdir()

        await _in_thread(job)

    def _path(self, run: str, key: str) -> Path:
        if not (KEY.fullmatch(run) and KEY.fullmatch(key)):
            raise FileNotFoundError(f"{run}/{key}")
        return self._root / "runs" / run / key

    def _content_path(self, sha256: str) -> Path:
        return self._root / "contents" / sha256[:2] / sha256


def _create(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _protect(folder: Path) -> None:
    """Take all access from group and others."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        with suppress(PermissionError):  # it belongs to another user
            folder.chmod(mode & ~0o077)
            _log.warning(
                "the directory could be read by other users", directory=str(folder), was=f"{mode:04o}"
            )


def _write(file: BinaryIO, chunk: bytes, update: Callable[[bytes], None]) -> None:
    update(chunk)
    file.write(chunk)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Make the names in a folder, or the bytes of a file, durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


async def _joined_chunks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join small chunks, because each one costs a switch to a thread."""
    parts, size = [], 0
    async for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size >= limits.artifact_chunk_bytes:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


async def _in_thread(job: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(job)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unavailable(error) from error


def _unavailable(error: OSError) -> Error:
    return Error(
        "STORE_UNAVAILABLE",
        f"The artifact's bytes could not be stored or read: {error.strerror}",
        retry_after_s=5,
    )
