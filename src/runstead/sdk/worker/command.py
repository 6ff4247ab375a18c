"""Runs any program as a task: its input, its output while it runs, and its exit code."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from runstead.sdk import tracing
from runstead.sdk.durable.context import Context, RunFailed, attempt_of
from runstead.sdk.isolation.failure import ProcessFailed, crashed, exit_code
from runstead.sdk.isolation.group import Group
from runstead.sdk.isolation.output import OutputLog, OutputStream
from runstead.sdk.models.lease import ClaimedRun

#: The RUNSTEAD_… variables that a program gets. Those of the worker are not passed on.
ENVIRONMENT: Final = (
    "RUNSTEAD_RUN_ID",
    "RUNSTEAD_TARGET",
    "RUNSTEAD_ATTEMPT",
    "RUNSTEAD_PROJECT_ID",
    "RUNSTEAD_CONFIG",
    "RUNSTEAD_OUTPUT",
)
OUTPUT_BYTES_MAX: Final = 1024 * 1024
#: The longest string in an environment on Linux is 128 KiB.
_CONFIG_BYTES_MAX: Final = 127 * 1024
#: How long to read output after the program's end. A process that still holds the pipe has escaped the group.
_LINGER_S: Final = 1.0


class Command:
    """A handler that runs a program without a shell. Exit code 0 completes the run; another fails it with EXIT_<n>."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        output: Literal["file", "stdout"] = "file",
        stop_seconds: float = 3.0,
    ) -> None:
        if isinstance(command, str) or not command:
            raise TypeError('A command is its program and its arguments, ["make", "all"]; there is no shell')
        if output not in ("file", "stdout"):
            raise ValueError(f'output is "file" or "stdout", not {output!r}')
        self._command = [os.fspath(word) for word in command]
        self._cwd = cwd
        self._env = dict(env or {})
        self._output = output
        self._stop_s = stop_seconds

    async def handle(self, ctx: Context, run: ClaimedRun) -> Any:
        with tempfile.TemporaryDirectory(prefix="runstead-") as folder:
            file = Path(folder) / "output.json"
            group = self._start(run, file)
            log = OutputLog()
            try:
                last_line = await self._follow(group, ctx, log)
            finally:
                for line in log.lines():
                    attempt_of(ctx).add_log_line(line)
            code = group.process.returncode
            ctx.exit_code = exit_code(code)
            if code < 0:
                raise crashed(self._command[0], code)
            if code > 0:
                message = f"{self._command[0]} exited with code {code}"
                raise ProcessFailed(message, f"EXIT_{code}", {"exit_code": code})
            return _output(last_line if self._output == "stdout" else _read(file))

    def _start(self, run: ClaimedRun, file: Path) -> Group:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
        environment |= {name.upper(): value for name, value in tracing.headers().items()}
        environment |= self._env | _run_variables(run, file)
        with tempfile.TemporaryFile() as stdin:  # a pipe would have to be written while the output is read
            stdin.write(msgspec.json.encode(run.input))
            stdin.seek(0)
            try:
                return Group(
                    self._command,
                    cwd=self._cwd,
                    env=environment,
                    stdin=stdin,
                    stdout=-1,
                    stderr=-1,
                )
            except OSError as error:
                raise RunFailed(
                    f"{self._command[0]} could not be started: {error}", "COMMAND_NOT_STARTED"
                ) from error

    async def _follow(self, group: Group, ctx: Context, log: OutputLog) -> bytes:
        """Wait until the program has ended, and return the last line of its standard output. A cancel ends it first."""
        stdout, stderr = group.process.stdout, group.process.stderr
        assert stdout is not None
        assert stderr is not None
        keeps_line, attempt = self._output == "stdout", attempt_of(ctx)
        streams = [
            OutputStream("stdout", stdout, attempt, log, keeps_line=keeps_line),
            OutputStream("stderr", stderr, attempt, log),
        ]
        reading = [asyncio.ensure_future(stream.read()) for stream in streams]
        ending = asyncio.ensure_future(group.ended())
        try:
            while not ending.done():
                await asyncio.wait(
                    [ending, *(one for one in reading if not one.done())],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                _raise_errors(reading)
            await asyncio.wait(reading, timeout=_LINGER_S)
            _raise_errors(reading)
        except BaseException:
            try:
                group.terminate()
                await asyncio.wait([ending], timeout=self._stop_s)
            finally:
                group.kill()
            await asyncio.wait([ending])
            raise
        finally:
            for one in reading:
                one.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
        return streams[0].last_line


def _raise_errors(reading: Sequence["asyncio.Future[None]"]) -> None:
    """Raise the server's refusal of output events, or LeaseLostError."""
    for one in reading:
        if one.done():
            one.result()


def _run_variables(run: ClaimedRun, file: Path) -> dict[str, str]:
    config = msgspec.json.encode(run.config)
    if len(config) > _CONFIG_BYTES_MAX:
        raise RunFailed(
            f"A program's config has at most {_CONFIG_BYTES_MAX} bytes, since it is an environment variable."
            " Pass large values as input",
            "INVALID_INPUT",
        )
    variables = {
        "RUNSTEAD_RUN_ID": run.run_id,
        "RUNSTEAD_TARGET": run.target or "",
        "RUNSTEAD_ATTEMPT": str(run.attempt),
        "RUNSTEAD_PROJECT_ID": run.project_id or "",
        "RUNSTEAD_CONFIG": config.decode(),
        "RUNSTEAD_OUTPUT": str(file),
    }
    assert tuple(variables) == ENVIRONMENT
    return variables


def _read(file: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
        return opened.read(OUTPUT_BYTES_MAX + 1)
    return b""


def _output(text: bytes) -> Any:
    """Decode the program's output. Return None where it has none."""
    if not text.strip():
        return None
    if len(text) > OUTPUT_BYTES_MAX:
        raise RunFailed(f"The output has more than {OUTPUT_BYTES_MAX} bytes", "RESULT_TOO_LARGE")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunFailed(f"The output is not JSON: {error}", "RESULT_NOT_JSON") from None
