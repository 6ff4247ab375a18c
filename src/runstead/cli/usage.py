"""`runstead usage`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.output import write_err, write_out
from runstead.cli.shared.parsing import parse_time
from runstead.cli.shared.render import Column, Screen, document, format_time, table
from runstead.cli.shared.usage_tables import format_money, token_columns

if TYPE_CHECKING:
    from runstead.sdk.models.price import UsageGroup

By = Literal["model", "target", "schedule", "key", "day", "family"]


def usage(
    *,
    by: Annotated[By, Parameter(help="The groups")] = "model",
    since: Annotated[
        str | None, Parameter(help="Runs created after: a time, or a duration such as 7d")
    ] = None,
    until: Annotated[str | None, Parameter(help="Runs created before: a time, or a duration")] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Show the tokens and the cost of a project's runs; of the last 30 days unless --since is given."""
    first = parse_time("--since", since)
    last = parse_time("--until", until)
    with connected(server, project=True) as client:
        report = client.projects.usage(by, since=first, until=last)
    if json:
        write_out(document(report))
        return
    write_err(f"runs created from {format_time(report.since)} to {format_time(report.until)}")
    rows: list[tuple[str, UsageGroup]] = [(one.key or "none", one) for one in report.groups]
    if report.groups_left_out:
        write_err(f"{report.groups_left_out:,} more groups are not shown, and are in the total")
    if report.truncated:
        write_err("the sums of older runs are not complete yet")
    columns: list[Column[tuple[str, UsageGroup]]] = [
        Column(by.upper(), lambda row: row[0]),
        *token_columns(lambda row: row[1]),
        Column("COST", lambda row: format_money(row[1].cost_micros), number=True),
        Column("UNPRICED", lambda row: f"{row[1].unpriced_runs:,}", drop_rank=3, number=True),
    ]
    write_out(table(columns, [*rows, ("total", report.total)], Screen.of()))
