"""Tracebacks for the authors of handlers: their own frames, with the SDK's frames folded into one line."""

import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

_SDK: Final = f"{Path(__file__).parents[2]}/"
#: Between frames of the SDK, frames of these parts of the standard library belong to the SDK too.
_PLUMBING: Final = tuple(
    f"{Path(traceback.__file__).parent}/{part}"
    for part in ("asyncio/", "concurrent/futures/", "contextlib.py", "threading.py")
)
#: Of a stack without frames of the user.
_FRAMES_MAX: Final = 4
_CAUSE: Final = "\nThe above exception was the direct cause of the following exception:\n\n"


def traceback_of(error: BaseException, stored: str | None = None) -> str:
    """Return the traceback. Each exception of the chain begins with the first frame of the user's code.

    `stored` is the traceback of the exception's cause, and replaces its cause.
    """
    chain = traceback.TracebackException.from_exception(error)
    if stored is not None:
        chain.__cause__, chain.__suppress_context__ = None, True
    _fold(chain)
    text = "".join(chain.format())
    return text if stored is None else f"{stored}{_CAUSE}{text}"


def stack_of(frame: FrameType) -> str:
    """Return where a thread is: the frames that the SDK called last, or else the last few."""
    frames = traceback.extract_stack(frame)
    first = max((at for at, one in enumerate(frames, 1) if one.filename.startswith(_SDK)), default=0)
    return "".join(traceback.format_list(frames[first:] or frames[-_FRAMES_MAX:]))


def _fold(chain: traceback.TracebackException) -> None:
    chain.stack = _Folded(_folded(chain.stack))
    for one in (chain.__cause__, chain.__context__, *(chain.exceptions or ())):
        if one is not None:
            _fold(one)


def _folded(frames: Iterable[traceback.FrameSummary]) -> Iterator[traceback.FrameSummary]:
    """Replace each row of the SDK's frames by one entry. A row before the user's first frame is left out."""
    row: list[traceback.FrameSummary] = []
    is_first = True
    for frame in frames:
        if frame.filename.startswith((_SDK, *_PLUMBING)):
            row.append(frame)
            continue
        yield from _entry(row, is_first=is_first)
        row, is_first = [], False
        yield frame
    yield from _entry(row, is_first=False)


def _entry(row: list[traceback.FrameSummary], *, is_first: bool) -> Iterable[traceback.FrameSummary]:
    if not any(frame.filename.startswith(_SDK) for frame in row):
        return row
    return () if is_first else (traceback.FrameSummary(_SDK, len(row), "", lookup_line=False),)


class _Folded(traceback.StackSummary):
    """A stack in which an entry of the SDK's folder stands for a row of frames. Its line is their number."""

    def format_frame_summary(self, frame_summary: traceback.FrameSummary, **options: Any) -> str:
        if frame_summary.filename != _SDK:
            return super().format_frame_summary(frame_summary, **options)
        count = frame_summary.lineno
        return f"  … {count} {'frame' if count == 1 else 'frames'} of runstead\n"
