"""Keeps the database readable by its owner only: it holds inputs, outputs and hashes of credentials."""

import os
import stat
from contextlib import suppress
from pathlib import Path

import structlog

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_log = structlog.get_logger(__name__)


def create(path: Path) -> None:
    """Create the database file with mode 0600 if it does not exist. SQLite gives its `-wal` and `-shm` files the
    same mode.
    """
    with suppress(OSError):  # it exists, or SQLite reports why it cannot be created
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def protect(path: Path) -> None:
    """Take all access to a database from group and others."""
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        mode = 0
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & _OTHERS:
                file.chmod(mode & ~_OTHERS)
                _log.warning("the file could be read by other users", file=str(file), was=f"{mode:04o}")
        except FileNotFoundError:
            continue
        except OSError as error:  # it belongs to another user
            _log.warning(
                "the file can be read by other users",
                file=str(file),
                mode=f"{mode:04o}",
                reason=error.strerror,
            )
