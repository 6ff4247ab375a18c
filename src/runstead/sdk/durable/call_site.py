"""Where in the user's code a step is called."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from runstead.sdk.durable.pending_calls import place_in_thread


class CallSite(NamedTuple):
    """A file, relative to the working directory if it is below it, and a line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def call_site() -> CallSite | None:
    """Return where the handler called the SDK. None where no code of the handler is on the stack."""
    if (place := place_in_thread()) is not None:
        return _site(place.code.co_filename, place.line)
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no public form
    while frame is not None:
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        if module == "asyncio":  # a step that is a branch of a gather by itself
            return None
        if module != "runstead":
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
