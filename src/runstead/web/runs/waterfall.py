"""Lays out the bars of a timeline in an SVG, in percent of its width, so that it scales without a script."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from runstead.web.framework.render import took
from runstead.web.runs.timeline import Bar

#: Possible distances between two marks of the axis, in ms.
_STEPS: Final = (
    *(number * 10**power for power in range(5) for number in (1, 2, 5)),
    *(minutes * 60_000 for minutes in (1, 2, 5, 10, 20, 30)),
    *(hours * 3_600_000 for hours in (1, 2, 4, 8, 12)),
    *(days * 86_400_000 for days in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)),
)
marks_max: Final = 5
_STATES: Final = {"open": "running", "done": "done", "failed": "failed", "broken": "interrupted"}


class Row(NamedTuple):
    """A bar with its position, `x` and `width` in percent. `summary` is its tooltip."""

    bar: Bar
    x: str
    width: str
    duration: str
    state: str
    summary: str


class Mark(NamedTuple):
    x: str
    label: str


class Waterfall(NamedTuple):
    rows: list[Row]
    marks: list[Mark]


def layout(bars: Sequence[Bar], now: int) -> Waterfall:
    """The positions of all bars and marks. A bar without an end ends at `now` (ms)."""
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
        duration = took(end - bar.start)
        note = f": {bar.note}" if bar.note else ""
        summary = f"{bar.name} ({bar.kind}), {_STATES[bar.state]}, {duration}, {took(bar.start - since)} after the start{note}"
        rows.append(
            Row(
                bar=bar,
                x=_percent(x),
                width=_percent(place(end) - x),
                duration=duration,
                state=_STATES[bar.state],
                summary=summary,
            )
        )
    return Waterfall(rows, _marks(span))


def _percent(value: float) -> str:
    return f"{value:.2f}%"


def _marks(span: int) -> list[Mark]:
    step = next((one for one in _STEPS if span / one <= marks_max), _STEPS[-1])
    return [Mark(_percent(at / span * 100), _label(at)) for at in range(0, span + 1, step)][: marks_max + 1]


def _label(ms: int) -> str:
    """The label of a mark, such as `5 min`."""
    if ms == 0:
        return "0"
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if ms >= unit:
            return f"{ms / unit:g} {name}"
    return f"{ms} ms"
