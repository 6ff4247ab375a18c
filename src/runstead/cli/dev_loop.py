"""`runstead dev`: a server, and a worker that restarts after each change."""

import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from runstead.cli.reloader import Reloaded, describe_end
from runstead.cli.shared import parent_bound
from runstead.cli.shared.output import write_err, write_out

_READY: Final = "runstead is ready on "
_PROJECT: Final = "default"


class DevelopError(RuntimeError):
    """The server ended or did not start. The message says why."""


def develop(
    reference: str, host: str, port: int, database: str | None, concurrency: int, grace_s: float
) -> None:
    """Run until SIGTERM or Ctrl-C. The worker ends first, so that it can release its runs.

    DevelopError if the server does not start, or ends without a signal.
    """
    home = Path.cwd() / ".runstead"
    key = os.environ.get("RUNSTEAD_BOOTSTRAP_KEY") or _key(home)
    project = os.environ.get("RUNSTEAD_BOOTSTRAP_PROJECT") or _PROJECT
    database = database or f"sqlite:///{home / 'runstead.db'}"
    settings = {"RUNSTEAD_BOOTSTRAP_KEY": key, "RUNSTEAD_BOOTSTRAP_PROJECT": project}
    arguments = ["serve", "--host", host, "--port", str(port), "--database", database]
    server = parent_bound.start(arguments, settings, stdout=subprocess.PIPE)
    developing = _Developing(server)
    try:
        url = developing.url()
        if url is not None:
            _welcome(reference, url, key, project)
            serve = ["worker", reference, "--url", url, "--project", project]
            serve += ["--concurrency", str(concurrency), "--grace-seconds", str(grace_s)]
            developing.serve(Reloaded(serve, {"RUNSTEAD_KEY": key}, Path.cwd(), grace_s))
    finally:
        developing.end()
    if not developing.stopped:
        end = describe_end(server.returncode)
        raise DevelopError(f"the server {end}" + ("" if server.returncode < 0 else ": see its output above"))


class _Developing:
    def __init__(self, server: "subprocess.Popen[bytes]") -> None:
        self.stopped = False
        self._server = server
        self._worker: Reloaded | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())

    def _stop(self) -> None:
        self.stopped = True
        if self._worker is not None:
            self._worker.stop()
        else:
            self._server.send_signal(signal.SIGTERM)

    def url(self) -> str | None:
        """The server's URL when it is ready; None if it ended before."""
        assert self._server.stdout is not None
        for line in self._server.stdout:
            text = line.decode().rstrip("\n")
            if text.startswith(_READY):
                return text.removeprefix(_READY)
            write_err(text)
        return None

    def serve(self, worker: Reloaded) -> None:
        self._worker = worker
        if self.stopped:
            return
        worker.run(while_alive=self._server)

    def end(self) -> None:
        if self._server.poll() is None:
            self._server.send_signal(signal.SIGTERM)
        self._server.wait()


def _key(home: Path) -> str:
    """The key of this directory's server, kept in a file that only the user can read."""
    home.mkdir(exist_ok=True)
    (home / ".gitignore").write_text("*\n")
    path = home / "key"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        key = f"vf_dev_{secrets.token_hex(32)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key + "\n")
        return key


def first_target(reference: str, folder: Path) -> str:
    """The first target in the source of the app, else `task:NAME`. The app is not imported here."""
    module, _, app = reference.partition(":")
    path = folder / f"{module.replace('.', '/')}.py"
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        source = ""
    found = re.search(rf"@{re.escape(app)}\.(task|workflow|eval)\(\s*[\"']([\w.-]+)[\"']", source)
    return "task:NAME" if found is None else f"{found[1]}:{found[2]}"


def _welcome(reference: str, url: str, key: str, project: str) -> None:
    write_out(f"Runstead at {url}, serving {reference} for the project {project}")
    write_out(f"Dashboard: {url}/ui")
    write_out(f"API key, for development only: {key}")
    write_out("")
    write_out("To create a run and follow it, in another terminal:")
    write_out("")
    write_out(f"  export RUNSTEAD_URL={url} RUNSTEAD_KEY={key} RUNSTEAD_PROJECT={project}")
    write_out(f"  runstead runs create {first_target(reference, Path.cwd())} --wait")
    write_out("")
    write_out(f"All routes: {url}/docs. The worker restarts when a .py file changes; Ctrl-C ends both.")
    sys.stdout.flush()
