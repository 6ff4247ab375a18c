"""Failures of handlers' processes and programs, and their codes."""

import signal
from typing import Any, Final

#: The codes that runs get from here, in addition to EXIT_<n> and the names of exceptions.
CODES: Final[dict[str, str]] = {
    "CRASHED": "A signal ended the process, or it ended before it was done.",
    "OUT_OF_MEMORY": "The handler asked for more than memory_mb.",
    "CPU_TIME_EXCEEDED": "The handler used more CPU time than cpu_seconds.",
    "EXECUTOR_LOST": "The cluster lost the process, or did not start it.",
    "APP_NOT_LOADED": "The process could not import the app.",
    "COMMAND_NOT_STARTED": "The program is not there, or may not be run.",
    "RESULT_NOT_JSON": "The handler's return value, or the program's output, is not JSON.",
    "RESULT_TOO_LARGE": "A program's output is larger than 1 MiB.",
}


class ProcessFailed(Exception):  # noqa: N818 - as RunFailed: an expected outcome
    """A handler or a program in a process of its own failed. The task's `retries` apply.

    `code` is the code or type name of the exception that the handler raised, EXIT_<n>, or one of `CODES`. `step_id`
    is the step that caused it, `block_step_id` the first step of the blocks that the exception ran through. `final`:
    the run is not retried.
    """

    def __init__(
        self,
        message: str,
        code: str,
        detail: Any = None,
        step_id: str | None = None,
        block_step_id: str | None = None,
        *,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail
        self.step_id = step_id
        self.block_step_id = block_step_id
        self.final = final


def exit_code(returncode: int) -> int:
    """Return the exit code as a shell reports it: 128 and the signal's number where a signal ended the process."""
    return returncode if returncode >= 0 else 128 - returncode


def crashed(process: str, returncode: int) -> ProcessFailed:
    """Return the failure of a process that a signal ended, or that exited before it reported its outcome."""
    code = "CRASHED"
    if returncode >= 0:
        message, name = f"{process} exited with code {returncode} before it was done", None
    else:
        name = _name(-returncode)
        message = f"{process} was ended by {name}"
        if name == "SIGXCPU":
            code, message = "CPU_TIME_EXCEEDED", f"{process} used more CPU time than allowed"
    return ProcessFailed(message, code, {"signal": name, "exit_code": exit_code(returncode)})


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
