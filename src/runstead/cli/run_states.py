"""`runstead runs pause|unpause|delete|usage|token`."""

from typing import TYPE_CHECKING, Annotated

from runstead.cli.run_group import runs
from runstead.cli.shared.command import Client, Output, command, one_line
from runstead.cli.shared.options import RunId, Yes
from runstead.cli.shared.output import confirm
from runstead.cli.shared.parsing import parse_seconds
from runstead.cli.shared.render import Column, Screen, table
from runstead.cli.shared.usage_tables import model_name, token_columns

if TYPE_CHECKING:
    from runstead.sdk.models.usage import TokenSums


@command(runs, "pause")
def pause_run(client: Client, run_id: RunId, /) -> Output:
    """Pause a run until it is unpaused. A worker that executes it loses its lease."""
    return one_line(client.runs.pause(run_id), "paused")


@command(runs, "unpause")
def unpause_run(client: Client, run_id: RunId, /) -> Output:
    """Unpause a paused run: it continues."""
    return one_line(client.runs.unpause(run_id), "unpaused")


@command(runs, "delete")
def delete_run(client: Client, run_id: RunId, /, *, yes: Yes = False) -> Output:
    """Delete an ended run with its events and artifacts. Needs the scope admin."""
    run = client.runs.get(run_id)
    confirm(f"Delete {run.run_id} ({run.status}) with its events and artifacts?", yes=yes)
    return one_line(client.runs.delete(run_id), "deleted")


@command(runs, "usage")
def run_usage(client: Client, run_id: RunId, /) -> Output:
    """Show the tokens of a run, of its descendants and of its family, by model."""
    used = client.runs.usage(run_id)
    sums = {"this run": used.run, "with descendants": used.subtree, "whole family": used.family}
    rows: list[tuple[str, str, TokenSums]] = []
    for name, one in sums.items():
        rows.append((name, "all models", one))
        rows += [(name, model_name(model.provider, model.model), model) for model in one.by_model]
    columns: list[Column[tuple[str, str, TokenSums]]] = [
        Column("OF", lambda row: row[0], keep_whole=True),
        Column("MODEL", lambda row: row[1]),
        *token_columns(lambda row: row[2]),
    ]
    return Output(used, table(columns, rows, Screen.of()))


@command(runs, "token")
def run_token(
    client: Client,
    run_id: RunId,
    /,
    *,
    expires_in: Annotated[str, "At most 1d"] = "1h",
    family: Annotated[bool, "Also read its descendants"] = False,
) -> Output:
    """Print a token that reads one run and its events, and nothing else: for a browser."""
    seconds = parse_seconds("--expires-in", expires_in)
    made = client.runs.access_token(run_id, expires_in_seconds=seconds, family=family)
    return one_line(made, made.token)
