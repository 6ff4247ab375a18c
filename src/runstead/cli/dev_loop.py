"""`runstead dev`: a server, and a worker that restarts after each change."""

import ast
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runstead.cli.reloader import Reloaded, describe_end
from runstead.cli.shared import parent_bound
from runstead.cli.shared.output import write_err, write_out
from runstead.sdk.task import WHOLE

_READY: Final = "runstead is ready on "
_PROJECT: Final = "default"
#: Arguments of a suggested command, by the annotation of the parameter.
_SAMPLES: Final = {"str": "text", "int": "1", "float": "1.5", "bool": "true", "": "1"}


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


def first_command(reference: str, folder: Path) -> str:
    """`TARGET --config NAME=VALUE …` for a function of the app, else `task:NAME`. The app is not imported here.

    It is the first function whose arguments are texts and numbers, or else the first one.
    """
    module, _, app = reference.partition(":")
    path = folder / f"{module.replace('.', '/')}.py"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return "task:NAME"
    found: list[tuple[str, list[str]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found += [(target, _samples(node.args)) for target in _targets(node, app)]
    if not found:
        return "task:NAME"
    target, samples = next((one for one in found if "…" not in "".join(one[1])), found[0])
    return " ".join([target, *(f"--config {one}" for one in samples)])


def _targets(function: ast.FunctionDef | ast.AsyncFunctionDef, app: str) -> Iterator[str]:
    """The targets that the function serves: `@app.task("order")` gives `task:order`."""
    for decorator in function.decorator_list:
        match decorator:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr="task" | "workflow" | "eval" as kind),
                args=[ast.Constant(value=str() as target), *_],
            ) if name == app:
                yield f"{kind}:{target}"


def _samples(arguments: ast.arguments) -> list[str]:
    """`name=value` for each argument that the run must give; `name=…` if it is no text and no number."""
    positional = arguments.posonlyargs + arguments.args
    required = positional[: len(positional) - len(arguments.defaults)]
    if required and (required[0].arg == "ctx" or _annotation(required[0]).endswith("Context")):
        required = required[1:]
    pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    required += [one for one, default in pairs if default is None]
    return [f"{one.arg}={_SAMPLES.get(_annotation(one), '…')}" for one in required if one.arg not in WHOLE]


def _annotation(argument: ast.arg) -> str:
    return "" if argument.annotation is None else ast.unparse(argument.annotation)


def _welcome(reference: str, url: str, key: str, project: str) -> None:
    write_out(f"Runstead at {url}, serving {reference} for the project {project}")
    write_out(f"Dashboard: {url}/ui")
    write_out(f"API key, for development only: {key}")
    write_out("")
    write_out("To create a run and follow it, in another terminal:")
    write_out("")
    write_out(f"  export RUNSTEAD_URL={url} RUNSTEAD_KEY={key} RUNSTEAD_PROJECT={project}")
    write_out(f"  runstead runs create {first_command(reference, Path.cwd())} --wait")
    write_out("")
    write_out(f"Documentation: {url}/docs. The worker restarts when a .py file changes; Ctrl-C ends both.")
    sys.stdout.flush()
