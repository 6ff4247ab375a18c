"""Restarts a worker when a source file changes, for development."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from runstead.cli.shared import parent_bound
from runstead.cli.shared.output import write_err

_POLL_S: Final = 0.3
_KILLED: Final = -9  # by SIGKILL, which Windows does not have
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "venv", "site-packages", "build", "dist"})
_FILES_MAX: Final = 20_000


class Sources:
    """The Python files below a directory, without hidden directories and installed packages."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known = dict(self._files())

    def _files(self) -> Iterator[tuple[str, int]]:
        count = 0
        for folder, subfolders, names in os.walk(self._root):
            subfolders[:] = [name for name in subfolders if not name.startswith(".") and name not in _SKIPPED]
            for name in names:
                if not name.endswith(".py"):
                    continue
                count += 1
                if count > _FILES_MAX:
                    return
                path = os.path.join(folder, name)  # noqa: PTH118 - thousands of files, several times a second
                try:
                    yield path, os.stat(path).st_mtime_ns  # noqa: PTH116
                except OSError:
                    continue  # deleted meanwhile

    def changed(self) -> str | None:
        """A file that was changed, created or deleted since the last call; None if there is none."""
        files = dict(self._files())
        different = files.items() ^ self._known.items()
        self._known = files
        return min((path for path, _ in different), default=None)


class Reloaded:
    """Runs one child at a time. `stop` may be called from a signal handler; each call signals the child."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], root: Path) -> None:
        self._arguments = arguments
        self._environment = environment
        self._sources = Sources(root)
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped: subprocess.Popen[bytes] | None = (
            None  # was signalled already: a second signal would skip the grace period
        )

    def stop(self) -> None:
        self._stopping = True
        if self._child is not None:
            self._signal(self._child)

    def _signal(self, child: "subprocess.Popen[bytes]") -> None:
        self._stopped = child
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)

    def run(self, while_alive: "subprocess.Popen[bytes] | None" = None) -> None:
        """Run until `stop` is called or the process `while_alive` ends."""
        while not self._stopping:
            self._child = child = parent_bound.start(self._arguments, self._environment)
            reported = False
            while not self._stopping:
                if while_alive is not None and while_alive.poll() is not None:
                    self._stopping = True
                changed = self._sources.changed()
                if changed is not None:
                    write_err(f"runstead: {os.path.relpath(changed)} changed, restarting")
                    break
                if child.poll() is not None and not reported:
                    if child.returncode == _KILLED:  # by a user or for want of memory, not by its code
                        write_err("runstead: the worker was killed, restarting")
                        break
                    reported = True
                    write_err("runstead: the worker ended; it restarts when a file changes")
                time.sleep(_POLL_S)  # polling, since a signal handler cannot safely set an Event
            if self._stopped is not child:
                self._signal(child)
            child.wait()


def run_reloading(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run the command until SIGTERM or Ctrl-C. Restart it after changes in the working directory."""
    reloaded = Reloaded(arguments, environment, Path.cwd())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reloaded.stop())
    reloaded.run()
