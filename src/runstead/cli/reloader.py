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
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "venv", "site-packages", "build", "dist"})
_FILES_MAX: Final = 20_000
#: Beyond the grace period: the time for the cleanup of its handlers and the release of its runs.
_END_S: Final = 6.0
#: The first signal starts the grace period, the second one ends it.
_SIGNALS_MAX: Final = 2
#: The least time from the start of a worker that was killed to its next start.
_RESTART_S: Final = 1.0


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
    """Runs one child at a time. `stop` may be called from a signal handler; each call signals the child.

    A child that was killed by a signal is started again. One that ended by itself is started after the next change:
    it would end again.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], root: Path, grace_s: float
    ) -> None:
        """`grace_s`: how long the child may take to finish its runs after the first signal."""
        self._arguments = arguments
        self._environment = environment
        self._sources = Sources(root)
        self._end_s = grace_s + _END_S
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None
        self._signals = 0  # that the child got: a second one skips the grace period

    def stop(self) -> None:
        self._stopping = True
        if self._child is not None:
            self._signal(self._child)

    def _signal(self, child: "subprocess.Popen[bytes]") -> None:
        self._signals += 1
        if child.poll() is None:
            if self._signals <= _SIGNALS_MAX:
                child.send_signal(signal.SIGTERM)
            else:
                child.kill()

    def run(self, while_alive: "subprocess.Popen[bytes] | None" = None) -> None:
        """Run until `stop` is called or the process `while_alive` ends."""
        while not self._stopping:
            self._signals = 0
            self._child = child = parent_bound.start(self._arguments, self._environment)
            self._follow(child, while_alive)
            if self._signals == 0:
                self._signal(child)
            self._await_end(child)

    def _follow(
        self, child: "subprocess.Popen[bytes]", while_alive: "subprocess.Popen[bytes] | None"
    ) -> None:
        """Return when the child has to end or to be started again."""
        reported, restart_at = False, time.monotonic() + _RESTART_S
        while not self._stopping:
            if while_alive is not None and while_alive.poll() is not None:
                self._stopping = True
            changed = self._sources.changed()
            if changed is not None:
                write_err(f"runstead: {os.path.relpath(changed)} changed, restarting")
                return
            code = child.poll()
            if code is not None and not reported:
                reported = True
                again = "restarting" if code < 0 else "it restarts when a file changes"
                write_err(f"runstead: the worker {describe_end(code)}; {again}")
            if code is not None and code < 0 and time.monotonic() >= restart_at:
                return
            time.sleep(_POLL_S)  # polling, since a signal handler cannot safely set an Event

    def _await_end(self, child: "subprocess.Popen[bytes]") -> None:
        """Wait for the end of a child that was signalled. A blocked event loop cannot end it: kill it in time."""
        try:
            child.wait(self._end_s)
        except subprocess.TimeoutExpired:
            write_err(f"runstead: the worker did not end within {self._end_s:g} s and is killed")
            child.kill()
            child.wait()


def describe_end(code: int) -> str:
    """`was killed by SIGKILL`, or `ended with exit code 1`, for the return code of a child."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def run_reloading(arguments: Sequence[str], environment: Mapping[str, str], grace_s: float) -> None:
    """Run the command until SIGTERM or Ctrl-C. Restart it after changes in the working directory."""
    reloaded = Reloaded(arguments, environment, Path.cwd(), grace_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: reloaded.stop())
    reloaded.run()
