"""A worker that starts anew whenever a source file changes, for development."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from runstead.cli.shared import parent_bound
from runstead.cli.shared.output import tell

_LOOK_S: Final = 0.3
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "venv", "site-packages", "build", "dist"})
_FILES_MAX: Final = 20_000


class Sources:
    """The Python files below a directory, hidden ones and installed packages left out."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known = dict(self._files())

    def _files(self) -> Iterator[tuple[str, int]]:
        count = 0
        for folder, below, names in os.walk(self._root):
            below[:] = [name for name in below if not name.startswith(".") and name not in _SKIPPED]
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
                    continue  # it has just gone

    def changed(self) -> str | None:
        """A file that was changed, made or removed since the last look."""
        files = dict(self._files())
        different = files.items() ^ self._known.items()
        self._known = files
        return min((path for path, _ in different), default=None)


class Reloaded:
    """One child at a time. `stop()` may be called from a signal's handler; each call is a signal for the child."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], root: Path) -> None:
        self._arguments = arguments
        self._environment = environment
        self._sources = Sources(root)
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None
        self._told: subprocess.Popen[bytes] | None = None  # to end; told again, it would hurry

    def stop(self) -> None:
        self._stopping = True
        if self._child is not None:
            self._signal(self._child)

    def _signal(self, child: "subprocess.Popen[bytes]") -> None:
        self._told = child
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)

    def run(self, while_lives: "subprocess.Popen[bytes] | None" = None) -> None:
        """Until `stop()`, or until the other process ends."""
        while not self._stopping:
            self._child = child = parent_bound.start(self._arguments, self._environment)
            told = False
            while not self._stopping:
                if while_lives is not None and while_lives.poll() is not None:
                    self._stopping = True
                changed = self._sources.changed()
                if changed is not None:
                    tell(f"runstead: {os.path.relpath(changed)} has changed, starting anew")
                    break
                if child.poll() is not None and not told:
                    told = True
                    tell("runstead: the worker has ended, and starts again when a file changes")
                time.sleep(_LOOK_S)  # a signal's handler cannot wake an Event without risk
            if self._told is not child:
                self._signal(child)
            child.wait()


def keep_up(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run the command, and anew after each change below the working directory, until SIGTERM or Ctrl-C."""
    reloaded = Reloaded(arguments, environment, Path.cwd())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reloaded.stop())
    reloaded.run()
