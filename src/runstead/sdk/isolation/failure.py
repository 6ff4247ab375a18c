"""How a process failed its run."""

import signal
from typing import Any


class ProcessFailed(Exception):  # noqa: N818 - as RunFailed: an outcome, not an accident
    """A handler or a program in a process of its own failed; the task's `retries` apply.

    `code` is the name of the exception that its handler raised, EXIT_<n>, CRASHED, OUT_OF_MEMORY, CPU_TIME_EXCEEDED or
    EXECUTOR_LOST.
    """

    def __init__(self, message: str, code: str, detail: Any = None, step_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail
        self.step_id = step_id


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
