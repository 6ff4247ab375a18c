"""A usage report as a table for other programs (RFC 4180)."""

import csv
import io
from typing import Final

from runstead.core.usage.report import Group, UsageReport

COLUMNS: Final = (
    "provider",
    "model",
    "runs",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost",
)
#: What makes a formula of a cell, in programs that calculate.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe(text: str | None) -> str:
    """A text that stays one: what would be a formula gets an apostrophe before it."""
    text = text or ""
    return f"'{text}" if text.startswith(_FORMULA) else text


def table(report: UsageReport, names: dict[str, str]) -> bytes:
    """One row for each model of each group, under a line of names. A cost has six places behind its point, and is empty
    where there is no price. `names` are those of keys and schedules that are known.
    """
    sheet = io.StringIO(newline="")
    writer = csv.writer(sheet, lineterminator="\r\n")
    first: tuple[str, ...] = () if report.by == "model" else (report.by,)
    if report.by in ("schedule", "key"):
        first += ("name",)
    writer.writerow((*first, *COLUMNS))
    for group in report.groups:
        cells = (safe(group.key), safe(names.get(group.key or "")))[: len(first)]
        writer.writerows((*cells, *row) for row in _rows(group))
    return sheet.getvalue().encode()


def _rows(group: Group) -> list[tuple[str | int, ...]]:
    return [
        (
            safe(line.provider),
            safe(line.model),
            line.runs,
            line.tokens.input_tokens,
            line.tokens.cached_input_tokens,
            line.tokens.output_tokens,
            line.tokens.reasoning_tokens,
            "" if line.cost_micros is None else f"{line.cost_micros // 10**6}.{line.cost_micros % 10**6:06d}",
        )
        for line in group.lines
    ]
