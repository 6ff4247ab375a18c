"""Runs the program in processes that are forked from one which has imported it.

To import the program takes several times as long as most commands. Each command is still a process of its own, with its
own environment, directory, output, signals and exit code. Several can run at once.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache

MODULES = (
    *(f"runstead.cli.{name}" for name in ("app", "projects", "keys", "db", "serve")),
    *(f"runstead.{name}" for name in ("server.main", "engines.sqlite.store", "engines.postgres.store")),
)


class ForkedProcess:
    """A process of the program, with as much of `subprocess.Popen` as tests need."""

    def __init__(self, connection, stdout=None):
        self._connection, self.stdout, self.returncode = connection, stdout, None
        self._answers = connection.makefile("r")
        self.pid = int(self._answers.readline())

    def wait(self, timeout=None):
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("runstead", timeout)
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._connection.close()
        return self.returncode

    def poll(self):
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class ForkingProcess:
    """The process that imports the program. It ends with this one, which holds the other end of its stdin.

    `limits`: (name, value) of members of `core/limits/` that differ. They are set first, since modules may read them
    when they are imported.
    """

    def __init__(self, limits):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, json.dumps(limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._address = self._process.stdout.readline().decode().strip()
        assert self._address, "the program cannot be imported"

    def start(self, arguments, *, cwd, env, stdout, stderr):
        """Start `runstead` with arguments. `stdout` is a file, or PIPE."""
        shown = None
        if stdout == subprocess.PIPE:
            reading, stdout = os.pipe()
            shown = open(reading)  # noqa: PTH123, SIM115 - the process has it
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        files = [file if isinstance(file, int) else file.fileno() for file in (stdout, stderr)]
        socket.send_fds(connection, [b"\0"], files)
        if shown is not None:
            os.close(stdout)
        request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": env})
        connection.sendall(request.encode() + b"\n")
        return ForkedProcess(connection, shown)

    def run(self, arguments, *, cwd, env, seconds):
        """Wait for a command: (exit code, stdout, stderr). TimeoutExpired if it takes longer than `seconds`."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self.start(arguments, cwd=cwd, env=env, stdout=out, stderr=err)
            try:
                code = process.wait(seconds)
            finally:
                process.kill()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode())
        return code, *texts


@cache
def forking_process(limits=()):
    return ForkingProcess(limits)


def _serve(folder, changed):
    import gc
    import importlib

    from runstead.core import limits

    for name, value in changed:
        assert hasattr(limits, name), name
        setattr(limits, name, value)
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/socket")
        listening.listen(64)
        os.write(1, f"{folder}/socket\n".encode())
        while True:
            ready, _, _ = select.select([listening, 0], [], [])
            if 0 in ready:
                return
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            connection, _ = listening.accept()
            if os.fork() == 0:
                try:
                    _wait_for_command(connection)
                finally:
                    os._exit(0)
            connection.close()


def _wait_for_command(connection):
    _, files, _, _ = socket.recv_fds(connection, 1, 2)
    request = json.loads(connection.makefile("r").readline())
    pid = os.fork()
    if pid == 0:
        _run(request, files)
    connection.sendall(b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _run(request, files):
    """Be the program, until it exits."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
    os.closerange(3, 64)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.argv = ["runstead", *request["arguments"]]
    from runstead.cli import main

    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter reports it
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="runstead-commands-", dir="/tmp") as given:
        _serve(given, json.loads(sys.argv[1]))
