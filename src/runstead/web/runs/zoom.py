"""The part of a timeline that is shown, and the parts to which its controls lead. Pure. Times are ms since 1970."""

from typing import Any, Final, NamedTuple

from runstead.web.framework.form import whole

#: The shortest part that is shown, in ms.
span_ms_min: Final = 10
#: The shortest part that shows the current step, in ms.
_step_span_ms_min: Final = 1_000
_time_digits_max: Final = 14


class Window(NamedTuple):
    """A part of a timeline. Without `until` it ends where the timeline ends, and grows with it."""

    since: int
    until: int | None = None

    @property
    def query(self) -> dict[str, Any]:
        """Its members in an address."""
        return {"begin": self.since} | ({} if self.until is None else {"end": self.until})


class Zoom(NamedTuple):
    """A control of the timeline. `query` is empty for the whole timeline. One that is not `enabled` changes nothing."""

    id: str
    label: str
    key: str
    query: dict[str, Any]
    enabled: bool = True


def window_in(begin: str, end: str) -> Window | None:
    """The window in an address; None for the whole timeline. Anything but a number counts as absent."""
    since, until = (whole(text, _time_digits_max) for text in (begin, end))
    return None if since is None else Window(since, until)


def bounded(window: Window | None, first: int, last: int) -> tuple[int, int]:
    """Start and end of the window in a timeline from `first` to `last`, at least `span_ms_min` apart."""
    if window is None:
        return first, max(last, first + 1)
    since = min(max(window.since, first), max(last - span_ms_min, first))
    until = last if window.until is None else min(window.until, last)
    return since, max(until, since + span_ms_min)


def zooms(
    window: Window | None, first: int, last: int, step: tuple[int, int | None] | None, *, failed: bool
) -> list[Zoom]:
    """The controls for this window. `step` is the start and the end of the current or failed step."""
    since, until = bounded(window, first, last)
    span, whole = until - since, window is None
    open_ended = window is None or window.until is None
    half = max(span // 2, span_ms_min)
    if step is not None and step[1] is None and open_ended:
        closer = Window(until - half)
    else:
        middle = since + span // 2
        if step is not None:
            begin, end = max(step[0], since), min(last if step[1] is None else step[1], until)
            middle = (begin + end) // 2 if begin <= end else middle
        start = min(max(middle - half // 2, since), until - half)
        closer = Window(start, start + half)
    wide, shift = Window(since - half, until + half), max(span // 2, 1)
    if open_ended:
        wide = Window(until - 2 * span)
    closest = span <= span_ms_min
    controls = {
        ("in", "Zoom in", "+"): (_query(window) if closest else closer.query, not closest),
        ("out", "Zoom out", "-"): ({} if _covers(wide, first, last) else wide.query, not whole),
        ("earlier", "Earlier", "["): _moved(window, first, last, -shift),
        ("later", "Later", "]"): _moved(window, first, last, shift),
        ("all", "Fit all", "0"): ({}, not whole),
    }
    found = [
        Zoom(id=name, label=label, key=key, query=query, enabled=enabled)
        for (name, label, key), (query, enabled) in controls.items()
    ]
    if step is not None:
        begin, ended = step
        end = last if ended is None else ended
        around = max((end - begin) // 10, (_step_span_ms_min - (end - begin)) // 2, 1)
        close = Window(max(begin - around, first), None if ended is None else min(ended + around, last))
        found.append(Zoom("step", "Failed step" if failed else "Current step", ".", close.query))
    return found


def _query(window: Window | None) -> dict[str, Any]:
    return {} if window is None else window.query


def _covers(window: Window, first: int, last: int) -> bool:
    return window.since <= first and (window.until is None or window.until >= last)


def _moved(window: Window | None, first: int, last: int, shift: int) -> tuple[dict[str, Any], bool]:
    """The window moved by `shift`, as far as the timeline goes, and whether it moves."""
    if window is None:
        return {}, False
    since, until = bounded(window, first, last)
    shift = max(shift, first - since) if shift < 0 else min(shift, last - until)
    if not shift:
        return window.query, False
    return Window(since + shift, until + shift).query, True
