"""Where in the user's code a step is called."""

import contextvars
import inspect
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

#: The thread in which a plain handler runs. None for a coroutine.
_handler_thread: Final[contextvars.ContextVar[int | None]] = contextvars.ContextVar(
    "handler_thread", default=None
)
#: Modules between the user's call and the step.
_BETWEEN: Final = frozenset({"runstead", "asyncio", "concurrent", "threading"})


class CallSite(NamedTuple):
    """A file, relative to the working directory if it is below it, and a line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def in_this_thread(thread: int | None = None) -> None:
    """Record that the handler, or a branch of it, runs in this thread."""
    _handler_thread.set(thread or threading.get_ident())


def call_site() -> CallSite | None:
    """Return where the handler called the SDK. None where no code of the handler is on the stack."""
    thread = _handler_thread.get()
    frame: FrameType | None = sys._getframe(1) if thread is None else sys._current_frames().get(thread)  # noqa: SLF001 - there is no public form
    while frame is not None:
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        if module == "asyncio" and thread is None:  # a step that is a branch of a gather by itself
            return None
        if module not in _BETWEEN:
            return _site(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None


def definition_site(function: Callable[..., Any]) -> CallSite | None:
    """Return where a function is defined. None for an object that is called."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return None if code is None else _site(code.co_filename, code.co_firstlineno)


def _site(file: str, line: int) -> CallSite:
    path, here = Path(file), Path.cwd()
    return CallSite(str(path.relative_to(here)) if path.is_relative_to(here) else file, line)
