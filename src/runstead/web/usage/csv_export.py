"""A usage report as CSV (RFC 4180)."""

import csv
import io
from typing import Final

from runstead.core.usage.report import Group, UsageReport
from runstead.web.framework.csv_cells import safe

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


def table(report: UsageReport, names: dict[str, str]) -> bytes:
    """A header, then one row for each model of each group. `names` maps ids of keys and schedules to names.

    A cost has six decimal places, and is empty without a price.
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
