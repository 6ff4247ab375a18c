"""Artifacts: uploads, and the artifacts that the server stores."""

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
    """A stored artifact. `size` is in bytes, `sha256` in hex, `uri` relative to the server's URL."""

    name: str
    media_type: str
    size: int
    sha256: str
    uri: str


class ArtifactStored(ResponseModel, frozen=True, kw_only=True):
    """The answer to an upload. `stored` is false where the same bytes were stored before."""

    stored: bool
    artifact: StoredArtifact


class Upload:
    """A streamed request body: bytes or a file. It is read again for each attempt of the call."""

    def __init__(self, source: bytes | bytearray | memoryview | str | os.PathLike[str]) -> None:
        """Raise OSError where the file does not exist."""
        self._path = Path(source) if isinstance(source, str | os.PathLike) else None
        self._data = b"" if isinstance(source, str | os.PathLike) else memoryview(source).cast("B")
        self.size = len(self._data) if self._path is None else self._path.stat().st_size

    def sha256(self) -> str:
        """Read the whole source, and return its SHA-256 in hex."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self) -> Generator[bytes, None, None]:
        """Yield the chunks."""
        if self._path is None:
            for start in range(0, self.size, _CHUNK_BYTES):
                yield bytes(self._data[start : start + _CHUNK_BYTES])
            return
        with self._path.open("rb") as file:
            # No more than the announced size, also if the file grows meanwhile.
            left = self.size
            while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk

    async def async_chunks(self) -> AsyncIterator[bytes]:
        """Yield the chunks, read in a thread."""
        with closing(self.chunks()) as chunks:
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                yield chunk
