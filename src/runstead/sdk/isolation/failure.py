"""How a process failed its run."""

import signal
from typing import Any, Final

#: The codes that runs get from here, beside EXIT_<n> and the names of exceptions.
CODES: Final[dict[str, str]] = {
    "CRASHED": "A signal ended the process, or it ended before it was done.",
    "OUT_OF_MEMORY": "The handler asked for more than memory_mb.",
    "CPU_TIME_EXCEEDED": "The handler used more CPU time than cpu_seconds.",
    "EXECUTOR_LOST": "The cluster lost the process, or did not start it.",
    "APP_NOT_LOADED": "The process could not import the app.",
    "COMMAND_NOT_STARTED": "The program is not there, or may not be run.",
    "RESULT_NOT_JSON": "What the handler returned, or the program gave as its output, is not JSON.",
    "RESULT_TOO_LARGE": "A program's output is larger than 1 MiB.",
}


class ProcessFailed(Exception):  # noqa: N818 - as RunFailed: an outcome, not an accident
    """A handler or a program in a process of its own failed; the task's `retries` apply.

    `code` is the name or code of the exception that its handler raised, EXIT_<n>, or one of `CODES`; `step_id` is the
    step from which that came. `final`: no other try of the run is worth it.
    """

    def __init__(
        self, message: str, code: str, detail: Any = None, step_id: str | None = None, *, final: bool = False
    ) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail
        self.step_id = step_id
        self.final = final


def exit_code(returncode: int) -> int:
    """As a shell tells it: 128 and the signal's number where a signal ended the process."""
    return returncode if returncode >= 0 else 128 - returncode


def crashed(what: str, returncode: int) -> ProcessFailed:
    """A process that ended by a signal, or before it had said what came of it."""
    code = "CRASHED"
    if returncode >= 0:
        message, name = f"{what} exited with code {returncode} before it was done", None
    else:
        name = _name(-returncode)
        message = f"{what} was ended by {name}"
        if name == "SIGXCPU":
            code, message = "CPU_TIME_EXCEEDED", f"{what} used all the CPU time that it may"
    return ProcessFailed(message, code, {"signal": name, "exit_code": exit_code(returncode)})


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
