"""Backups in a folder. Files are readable by their owner only."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from runstead.core import limits
from runstead.core.backup import BackupError
from runstead.engines.artifacts.files import sync

T = TypeVar("T")
#: Files under way. What a killed backup left there is removed by the next one.
_INCOMING: Final = "incoming"
_LOCK: Final = ".lock"


class FolderPlace:
    def __init__(self, root: Path) -> None:
        self._root = root
        self.shown = str(root)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        import fcntl  # noqa: PLC0415 - not on Windows, where only restore and verify work

        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._failed(error) from error
        incoming = self._root / _INCOMING
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases it after a kill
            except BlockingIOError:
                raise BackupError(f"another backup to {self.shown} is under way") from None
            shutil.rmtree(incoming, ignore_errors=True)
            incoming.mkdir(mode=0o700)
            try:
                yield incoming
            finally:
                shutil.rmtree(incoming, ignore_errors=True)
        finally:
            os.close(lock)

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        partial = self._root / _INCOMING / name.replace("/", "-")
        file = await self._in_thread(
            lambda: os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        )
        try:
            async for chunk in chunks:
                await self._in_thread(file.write, chunk)
            await self._in_thread(file.flush)
            await self.put_file(name, partial)
        finally:
            with suppress(OSError):  # the failed write that `put` reports is tried again by `close`
                file.close()
            partial.unlink(missing_ok=True)

    async def put_file(self, name: str, path: Path) -> None:
        def job() -> None:
            target = self._root / name
            folders = [self._root / folder for folder in target.relative_to(self._root).parents]
            for folder in reversed(folders):
                folder.mkdir(mode=0o700, exist_ok=True)
            sync(path)
            path.replace(target)
            for folder in folders:
                sync(folder)

        await self._in_thread(job)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        file = await self._in_thread(lambda: (self._root / name).open("rb"))
        with file:
            while chunk := await self._in_thread(file.read, limits.artifact_chunk_bytes):
                yield chunk

    async def folders(self) -> list[str]:
        if not self._root.is_dir():
            return []
        return sorted(entry.name for entry in self._root.iterdir() if entry.is_dir())

    async def files(self, folder: str) -> dict[str, int]:
        def job() -> dict[str, int]:
            return {
                path.relative_to(self._root).as_posix(): path.stat().st_size
                for path in (self._root / folder).rglob("*")
                if path.is_file()
            }

        return await self._in_thread(job)

    async def remove(self, name: str) -> None:
        def job() -> None:
            (self._root / name).unlink(missing_ok=True)
            with suppress(OSError):  # it has other files
                (self._root / name).parent.rmdir()

        await self._in_thread(job)

    async def _in_thread(self, job: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(job, *arguments)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> BackupError:
        return BackupError(f"cannot use the folder {self.shown} for backups: {error.strerror}")
