"""Backups in S3-compatible storage, one object for each file. An object is stored completely or not at all."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import obstore
from obstore.exceptions import NotFoundError

from runstead.core import limits
from runstead.core.backup import BackupError
from runstead.engines.artifacts.s3 import UploadError, bucket, first_line, raising, upload


class S3Place:
    """`url` as that of `S3Artifacts`."""

    def __init__(self, url: str) -> None:
        self.shown, self._store = bucket(url)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="runstead-backup-") as folder:
            yield Path(folder)

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        try:
            await upload(self._store, name, chunks)
        except UploadError as error:
            raise self._failed(error.cause) from None

    async def put_file(self, name: str, path: Path) -> None:
        with raising(self._failed):
            await obstore.put_async(self._store, name, path, chunk_size=limits.backup_part_bytes)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        with raising(self._failed, name):
            response = await obstore.get_async(self._store, name)
            async for chunk in response.stream(min_chunk_size=limits.artifact_chunk_bytes):
                yield bytes(chunk)

    async def folders(self) -> list[str]:
        with raising(self._failed):
            found = await obstore.list_with_delimiter_async(self._store)
        return sorted(prefix.strip("/") for prefix in found["common_prefixes"])

    async def files(self, folder: str) -> dict[str, int]:
        with raising(self._failed):
            return {
                entry["path"]: entry["size"]
                async for page in obstore.list(self._store, prefix=folder)
                for entry in page
            }

    async def remove(self, name: str) -> None:
        with raising(self._failed), suppress(NotFoundError, FileNotFoundError):
            await obstore.delete_async(self._store, name)

    def _failed(self, error: Exception) -> BackupError:
        return BackupError(f"cannot use {self.shown} for backups: {first_line(error)}")
