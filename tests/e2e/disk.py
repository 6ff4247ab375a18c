"""Full or read-only disks, without effect on the machine's own disk."""

import ctypes
import os
import resource
import subprocess
from pathlib import Path

from tests.support.server import Server

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE = 24, 1


class Tmpfs:
    """A file system of a few MiB that is mostly filled by one file. Mounting needs root."""

    def __init__(self, directory: Path, size: int, free: int):
        self.directory = directory / "tmpfs"
        self.directory.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.directory]
        self.mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        self._filler = self.directory / "filler"
        if self.mounted:
            self._filler.write_bytes(b"\0" * (size - free))

    preexec = None

    def make_room(self, _server: Server) -> None:
        self._filler.unlink()

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.directory], check=True)


class Quota:
    """A bound of the size of the server's files. It does not need root."""

    def __init__(self, directory: Path, free: int):
        self.directory, self._free = directory, free
        self.mounted = True

    def preexec(self) -> None:
        """Set the soft limit in the child, so that the test can raise it later."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._free, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def make_room(self, server: Server) -> None:
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def close(self) -> None:
        pass


def heed_permissions() -> None:
    """Make file permissions apply to a child that root starts, as to any other user."""
    if os.geteuid() == 0:
        _LIBC.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)
