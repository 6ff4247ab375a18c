"""Calls of a context that a handler made: it finds the call that was never awaited, and a step name used at two places."""

import contextvars
import functools
import inspect
import itertools
import logging
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_SDK: Final = "runstead.sdk."
#: Finished calls are forgotten when the list is this long, or twice as long as it was after the last time.
_CALLS_KEPT: Final = 64
logger = logging.getLogger("runstead.sdk.durable")


class Place(NamedTuple):
    """A call in the user's code. Its line is computed only where it is shown."""

    code: CodeType
    instruction: int

    @property
    def line(self) -> int:
        position = next(itertools.islice(self.code.co_positions(), self.instruction // 2, None), (None,))
        return position[0] or self.code.co_firstlineno

    def __str__(self) -> str:
        return f"{self.code.co_filename}:{self.line}"


class Usable(Protocol):
    """An awaitable that is no coroutine. `used`: it was awaited or entered."""

    used: bool


Work = Coroutine[Any, Any, Any] | Usable


class _Call(NamedTuple):
    name: str
    work: Work
    place: Place


class PendingCalls:
    """The calls of one try of a handler."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._limit = _CALLS_KEPT
        self._step_places: dict[str, Place] = {}

    def add(self, name: str, work: Work, place: Place) -> None:
        self._calls.append(_Call(name, work, place))
        if len(self._calls) > self._limit:
            self._calls = [call for call in self._calls if _is_new(call.work)]
            self._limit = max(_CALLS_KEPT, 2 * len(self._calls))

    def take_unawaited(self) -> tuple[str, Place] | None:
        """Forget all calls. Return the name and the place of the first one that was never awaited."""
        calls, self._calls = self._calls, []
        unawaited = [call for call in calls if _is_new(call.work)]
        for call in unawaited:
            if inspect.iscoroutine(call.work):
                call.work.close()  # so that Python does not warn too
        return (unawaited[0].name, unawaited[0].place) if unawaited else None

    def add_step(self, name: str, place: Place) -> None:
        """Warn where another place in the code uses the step's name. The same place in a loop may use it."""
        first = self._step_places.setdefault(name, place)
        if first != place:
            _warn_of_name(name, str(first), str(place))


@functools.lru_cache(maxsize=1024)
def _warn_of_name(name: str, first: str, second: str) -> None:
    """Warn once. The lists of steps in the log and in the dashboard show names."""
    logger.warning(
        "The step name %r is used at %s and at %s: give each step its own name, so that the log shows which one ran",
        name,
        first,
        second,
    )


def _is_new(work: Work) -> bool:
    if not inspect.iscoroutine(work):
        return not cast(Usable, work).used
    return inspect.getcoroutinestate(work) == inspect.CORO_CREATED


class ThisCall(NamedTuple):
    """Where a call of the context comes from, and the exception that its caller handles."""

    place: Place | None
    handles: BaseException | None
    in_thread: bool = False


_from_thread: Final[contextvars.ContextVar[ThisCall | None]] = contextvars.ContextVar(
    "from_thread", default=None
)


def this_call(frame: FrameType) -> ThisCall:
    """Return the call whose frame this is, or that of the thread that waits for it."""
    return _from_thread.get() or ThisCall(_place(frame), sys.exception())


def place_in_thread() -> Place | None:
    """Return where the thread that waits for the running call made it. None where no thread waits."""
    call = _from_thread.get()
    return None if call is None else call.place


def handled_exception() -> BaseException | None:
    """Return the exception that the caller of the running call handles: it is in an `except` or `finally` block."""
    call = _from_thread.get()
    return sys.exception() if call is None else call.handles


@contextmanager
def calling_from_thread() -> Iterator[None]:
    """Make this call, of a thread, known to the event loop's thread."""
    frame = sys._getframe(2)  # noqa: SLF001 - a traceback for each call would be slow
    token = _from_thread.set(ThisCall(_place(frame), sys.exception(), in_thread=True))
    try:
        yield
    finally:
        _from_thread.reset(token)


def _place(frame: FrameType | None) -> Place | None:
    """Return the place of the first frame of the user's code, from this frame outwards."""
    while frame is not None and _is_sdk(frame):
        frame = frame.f_back
    return None if frame is None else Place(frame.f_code, frame.f_lasti)


def _is_sdk(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").startswith(_SDK)  # type: ignore[no-any-return]  # a module's name


def tracked(method: F) -> F:
    """Record the calls of a method of a context, so that a forgotten `await` is found.

    `_attempt.pending` of the object records them. Calls by the SDK itself are not recorded.
    """
    owner, _, name = method.__qualname__.rpartition(".")
    label = f"{'child' if owner == 'Child' else 'ctx'}.{name}"

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        work = method(self, *args, **kwargs)
        frame = sys._getframe(1)  # noqa: SLF001 - a traceback for each call would be slow
        if not _is_sdk(frame) and (inspect.iscoroutine(work) or hasattr(work, "used")):
            self._attempt.pending.add(label, work, Place(frame.f_code, frame.f_lasti))
        return work

    return call  # type: ignore[return-value]  # the same signature
