"""The port to the place of backups: a folder, or a prefix of a bucket."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Place(Protocol):
    """Named files. A name is a relative path. A file is complete or does not exist.

    Methods raise BackupError if the storage fails.
    """

    shown: str
    """The place as the operator knows it, without parameters."""

    def writing(self) -> AbstractContextManager[Path]:
        """Prepare the place for a backup. Yields an empty local directory, which is removed afterwards.

        BackupError if another backup to a folder is under way.
        """

    async def put(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Store a file durably, and replace an earlier one. If it raises, nothing is stored."""

    async def put_file(self, name: str, path: Path) -> None:
        """Store a local file of the directory of `writing`. It may be moved."""

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the bytes of a file. FileNotFoundError at the first chunk."""

    async def folders(self) -> list[str]:
        """Return the names of the folders of the place. Empty if the place does not exist."""

    async def files(self, folder: str) -> dict[str, int]:
        """Return the files below a folder: name → bytes."""

    async def remove(self, name: str) -> None:
        """Delete a file. Does nothing if it does not exist."""
