"""Bars to places in an SVG: everything in per cent of the width, so that it fits any screen without a script."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from runstead.web.framework.render import took
from runstead.web.runs.timeline import Bar

#: Spans between two marks of the axis, in ms.
_STEPS: Final = (
    *(number * 10**power for power in range(5) for number in (1, 2, 5)),
    *(minutes * 60_000 for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * 3_600_000 for hours in (1, 2, 4, 8, 12)),
    *(days * 86_400_000 for days in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)),
)
marks_max: Final = 5
_STATES: Final = {"open": "not over", "done": "done", "failed": "failed", "broken": "broken off"}


class Row(NamedTuple):
    """A bar with its place: `x` and `width` in per cent. `told` is all of it in words."""

    bar: Bar
    x: str
    width: str
    lasted: str
    state: str
    told: str


class Mark(NamedTuple):
    x: str
    label: str


class Waterfall(NamedTuple):
    rows: list[Row]
    marks: list[Mark]


def drawn(bars: Sequence[Bar], now: int) -> Waterfall:
    """Where everything goes. What is not over ends at `now` (ms)."""
    if not bars:
        return Waterfall([], [])
    since = min(bar.start for bar in bars)
    until = max(now if bar.end is None else bar.end for bar in bars)
    span = max(until - since, 1)

    def place(at: int) -> float:
        return min(max((at - since) / span * 100, 0.0), 100.0)

    rows = []
    for bar in bars:
        end = max(now if bar.end is None else bar.end, bar.start)
        x = place(bar.start)
        lasted = took(end - bar.start)
        note = f": {bar.note}" if bar.note else ""
        told = f"{bar.name} ({bar.kind}), {_STATES[bar.state]}, {lasted}, {took(bar.start - since)} after the start{note}"
        rows.append(Row(bar, _percent(x), _percent(place(end) - x), lasted, _STATES[bar.state], told))
    return Waterfall(rows, _marks(span))


def _percent(value: float) -> str:
    return f"{value:.2f}%"


def _marks(span: int) -> list[Mark]:
    step = next((one for one in _STEPS if span / one <= marks_max), _STEPS[-1])
    return [Mark(_percent(at / span * 100), _label(at)) for at in range(0, span + 1, step)][: marks_max + 1]


def _label(ms: int) -> str:
    """A mark is a round time: it needs one unit, or two."""
    if ms == 0:
        return "0"
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if ms >= unit:
            return f"{ms / unit:g} {name}"
    return f"{ms} ms"
