"""The report of `runstead race`, as JSON or as a table."""

from collections.abc import Iterator

import msgspec
from rich.table import Table

from runstead.bench.rendering import rendered


class Violation(msgspec.Struct, frozen=True):
    """One run that was not completed exactly once. `started_as` is its status before the race."""

    run_id: str
    started_as: str
    disagreements: list[str]


class RaceReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a race. `winners` counts runs by final status; `seconds` includes the reads; `url` lists all replicas."""

    url: str
    started_at: str
    seconds: float
    runs: int
    callers: int
    winners: dict[str, int]
    violations: list[Violation]

    @property
    def exactly_once(self) -> bool:
        """Whether every run was completed exactly once."""
        return not self.violations


def render_race(report: RaceReport, *, json: bool = False) -> str:
    """Return the text to print, with a final newline."""
    return rendered(report, _parts(report), json=json)


def _parts(report: RaceReport) -> Iterator[Table | str]:
    table = Table("winner", "runs", title=f"Runstead race at {report.url}", title_justify="left")
    table.columns[1].justify = "right"
    for status, count in report.winners.items():
        table.add_row(status, str(count))
    yield table
    calls = report.runs * report.callers
    yield f"{report.runs} runs, {report.callers} callers each, {calls} calls in {report.seconds:g} s"
    for violation in report.violations:
        yield f"{violation.run_id} (was {violation.started_as}):"
        for disagreement in violation.disagreements:
            yield f"  - {disagreement}"
    broken = len(report.violations)
    yield f"{broken} run(s) not finished exactly once" if broken else "every run finished exactly once"
