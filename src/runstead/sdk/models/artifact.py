"""Artifacts: bytes on their way to the server, and what it keeps of them."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Generator
from contextlib import closing
from pathlib import Path
from typing import Final

from runstead.sdk.models.response import ResponseModel

_CHUNK_BYTES: Final = 256 * 1024


class StoredArtifact(ResponseModel, frozen=True, kw_only=True):
    """An artifact that the server keeps. `size` in bytes, `sha256` in hex; `uri` is below the server's URL."""

    name: str
    media_type: str
    size: int
    sha256: str
    uri: str


class ArtifactStored(ResponseModel, frozen=True, kw_only=True):
    """`stored` is false where the same bytes were there already."""

    stored: bool
    artifact: StoredArtifact


class Upload:
    """A body that is streamed, again for every time that it is sent: bytes, or what a file holds."""

    def __init__(self, source: bytes | bytearray | memoryview | str | os.PathLike[str]) -> None:
        """OSError where the file is not there."""
        self._path = Path(source) if isinstance(source, str | os.PathLike) else None
        self._data = b"" if isinstance(source, str | os.PathLike) else memoryview(source).cast("B")
        self.size = len(self._data) if self._path is None else self._path.stat().st_size

    def sha256(self) -> str:
        """It reads the whole file."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self) -> Generator[bytes, None, None]:
        if self._path is None:
            for start in range(0, self.size, _CHUNK_BYTES):
                yield bytes(self._data[start : start + _CHUNK_BYTES])
            return
        with self._path.open("rb") as file:
            # No more than was announced, should the file grow meanwhile.
            left = self.size
            while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk

    async def async_chunks(self) -> AsyncIterator[bytes]:
        """The same, reading in a thread."""
        with closing(self.chunks()) as chunks:
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                yield chunk
