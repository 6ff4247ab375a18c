"""Bar charts by day, drawn on the server, so that they need no JavaScript."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Final

import msgspec

from runstead.core.usage.report import Group
from runstead.web.usage.money import compact, rounded
from runstead.web.usage.period import Period

#: In a longer period, empty days before the first bar are left out.
all_days_max: Final = 92
days_max: Final = 1_000


class Piece(msgspec.Struct, frozen=True):
    """A segment of a day's bar: `y` from the top, and `height`, in percent of the chart's height."""

    kind: str
    y: float
    height: float


class Day(msgspec.Struct, frozen=True):
    """A day's bar. `title` is its tooltip."""

    x: int
    title: str
    pieces: list[Piece]


class Chart(msgspec.Struct, frozen=True):
    """A chart. `top` is the label of its upper edge; `summary` is its text alternative."""

    name: str
    days: list[Day]
    top: str
    first: date
    last: date
    summary: str


def charts(groups: Sequence[Group], period: Period) -> list[Chart]:
    """Charts of tokens by day and, if anything has a price, of cost by day, from a report's groups by day."""
    by_day = {date.fromisoformat(one.key): one for one in groups if one.key is not None}
    first = period.first
    if period.days > all_days_max:
        first = max(first, min(by_day, default=period.last), period.last - timedelta(days=days_max - 1))
    days = [first + timedelta(days=place) for place in range((period.last - first).days + 1)]
    found = [_chart("Tokens by day", days, by_day, _tokens, lambda value: f"{value:,} tokens", compact)]
    if any(one.cost_micros for one in groups):
        found.append(_chart("Cost by day", days, by_day, _cost, rounded, rounded))
    return found


def _tokens(group: Group) -> list[tuple[str, int]]:
    tokens = group.tokens
    cached = min(tokens.cached_input_tokens, tokens.input_tokens)
    return [
        ("input", tokens.input_tokens - cached),
        ("cached", cached),
        ("output", tokens.output_tokens),
    ]


def _cost(group: Group) -> list[tuple[str, int]]:
    return [("cost", group.cost_micros)]


def _chart(
    name: str,
    days: Sequence[date],
    by_day: dict[date, Group],
    parts_of: Callable[[Group], list[tuple[str, int]]],
    format_total: Callable[[int], str],
    format_top: Callable[[int], str],
) -> Chart:
    parts = [parts_of(by_day[day]) if day in by_day else [] for day in days]
    sums = [sum(value for _, value in one) for one in parts]
    top = max(sums, default=0)
    bars = []
    for x, (day, one, total) in enumerate(zip(days, parts, sums, strict=True)):
        y, pieces = 100.0, []
        for kind, value in one:
            if value:
                height = 100 * value / top
                y -= height
                pieces.append(Piece(kind, round(y, 3), round(height, 3)))
        details = "".join(f", {value:,} {kind}" for kind, value in one) if len(one) > 1 else ""
        bars.append(Day(x, f"{day}: {format_total(total)}{details}", pieces))
    most = days[sums.index(top)] if top else None
    summary = f"{name}, {days[0]} to {days[-1]}: " + (
        f"at most {format_total(top)}, on {most}" if most else "none"
    )
    return Chart(name=name, days=bars, top=format_top(top), first=days[0], last=days[-1], summary=summary)
