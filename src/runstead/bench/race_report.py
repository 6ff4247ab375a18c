"""The report of `runstead race`, as JSON or as a table."""

import msgspec
from rich.console import Console
from rich.table import Table


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
    """Return the text to print, with a final newline. It is coloured only where stdout is a terminal."""
    if json:
        return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"
    console = Console(highlight=False)
    with console.capture() as capture:
        table = Table("winner", "runs", title=f"Runstead race at {report.url}", title_justify="left")
        table.columns[1].justify = "right"
        for status, count in report.winners.items():
            table.add_row(status, str(count))
        console.print(table)
        calls = report.runs * report.callers
        console.print(
            f"{report.runs} runs, {report.callers} callers each, {calls} calls in {report.seconds:g} s"
        )
        for violation in report.violations:
            console.print(f"{violation.run_id} (was {violation.started_as}):", markup=False)
            for disagreement in violation.disagreements:
                console.print(f"  - {disagreement}", markup=False)
        broken = len(report.violations)
        console.print(
            f"{broken} run(s) not finished exactly once" if broken else "every run finished exactly once"
        )
    return capture.get()
