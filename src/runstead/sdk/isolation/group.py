"""Starts a program in a process group of its own, and ends the whole group."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from runstead.sdk.isolation import guard
from runstead.sdk.worker.threads import in_thread


class _Guard:
    """The guard process of this process. It is started when it is first needed, and again if it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ensure_started(self) -> None:
        """Start the guard before a program, so that the program's group is registered as soon as it exists."""
        with self._lock:
            if (
                self._owner != os.getpid()
            ):  # not started, or this process was forked: the groups are its parent's
                self._groups = set()
                self._start()

    def add(self, group: int) -> None:
        with self._lock:
            self._groups.add(group)
            self._send(f"+{group}\n")

    def remove(self, group: int) -> None:
        with self._lock:
            self._groups.discard(group)
            self._send(f"-{group}\n")

    def _send(self, line: str) -> None:
        if self._owner == os.getpid() and self._write(line):
            return
        if self._owner != os.getpid():  # this process was forked: the groups belong to its parent
            self._groups = {int(line[1:])} if line.startswith("+") else set()
        self._start()

    def _start(self) -> None:
        # -I and -S: it starts fast, and nothing in the worker's environment can keep it from starting.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-I", "-S", str(Path(guard.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        self._owner = os.getpid()
        self._write("".join(f"+{group}\n" for group in self._groups))

    def _write(self, text: str) -> bool:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()
        except OSError:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()
            return False
        return True


_guard: Final = _Guard()


class Group:
    """A program and every process that it starts, except those that create a session of their own.

    The constructor starts the program. Raise OSError where it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        if not hasattr(os, "killpg"):
            raise OSError(
                'isolation="process" and app.command need process groups, which Windows does not have: run this worker'
                " on Linux, macOS or in WSL"
            )
        _guard.ensure_started()
        self.process = subprocess.Popen(  # noqa: S603 - the app's author chose the command; there is no shell
            list(command),
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self._ended = threading.Event()
        self._lock = threading.Lock()
        _guard.add(self.pid)

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock, contextlib.suppress(OSError):
            if not self._ended.is_set():
                os.killpg(self.pid, number)

    def wait(self) -> int:
        """Wait until the program has ended, and kill what it left running.

        Return the exit code; below 0 it is the number of the signal that ended the program.
        """
        with contextlib.suppress(OSError):
            # The program is not reaped yet, so its id cannot belong to another group when the group is killed.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.kill()
        with self._lock:
            code = self.process.wait()
            self._ended.set()
        _guard.remove(self.pid)
        return code

    async def ended(self) -> int:
        """Call `wait` in a thread. Call it once."""
        return await in_thread(self.wait, f"runstead-wait-{self.pid}")
