"""Lays out the bars of a timeline in an SVG, in percent of its width, so that it scales without a script."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from runstead.web.framework.render import took
from runstead.web.runs.timeline import Bar

#: Possible distances between two marks of the axis, in ms.
_STEPS: Final = (
    *(number * 10**power for power in range(3) for number in (1, 2, 5)),
    *(seconds * 1_000 for seconds in (1, 2, 5, 10, 15, 30)),
    *(minutes * 60_000 for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * 3_600_000 for hours in (1, 2, 4, 6, 12)),
    *(days * 86_400_000 for days in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)),
)
marks_max: Final = 5
_STATES: Final = {"open": "running", "done": "done", "failed": "failed", "broken": "interrupted"}


class Row(NamedTuple):
    """A bar with its position, `x` and `width` in percent. `summary` is its tooltip.

    The page scrolls to the `focus`: the newest open bar, or else the last one that failed.
    """

    bar: Bar
    x: str
    width: str
    duration: str
    state: str
    summary: str
    focus: bool


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

    focus = _focus(bars)
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
                focus=bar is focus,
            )
        )
    return Waterfall(rows, _marks(span))


def _focus(bars: Sequence[Bar]) -> Bar | None:
    inner = [bar for bar in bars if bar.kind != "attempt"]
    found = [bar for bar in inner if bar.state == "open"] or [bar for bar in inner if bar.state == "failed"]
    return found[-1] if found else None


def _percent(value: float) -> str:
    return f"{value:.2f}%"


def _marks(span: int) -> list[Mark]:
    step = next((one for one in _STEPS if span / one <= marks_max), _STEPS[-1])
    return [Mark(_percent(at / span * 100), _label(at)) for at in range(0, span + 1, step)][: marks_max + 1]


def _label(ms: int) -> str:
    """The label of a mark in whole units, such as `5 min` or `1 min 30 s`."""
    if ms < 60_000:
        return f"{ms / 1_000:g} s" if ms >= 1_000 else f"{ms} ms" if ms else "0"
    parts = []
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        count, ms = divmod(ms, unit)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts)
