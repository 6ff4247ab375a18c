"""`runstead runs pause|unpause|delete|usage|token`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson, RunId, Yes
from runstead.cli.shared.output import confirm, write_out
from runstead.cli.shared.parsing import parse_seconds
from runstead.cli.shared.render import Column, Screen, document, table
from runstead.cli.shared.results import print_result
from runstead.cli.shared.usage_tables import model_name, token_columns

if TYPE_CHECKING:
    from runstead.sdk.models.usage import TokenSums


def pause_run(run_id: RunId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Pause a run until it is unpaused. A worker that executes it loses its lease."""
    with connected(server) as client:
        done = client.runs.pause(run_id)
    print_result(done, "paused", json=json)


def unpause_run(run_id: RunId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Unpause a paused run: it continues."""
    with connected(server) as client:
        done = client.runs.unpause(run_id)
    print_result(done, "unpaused", json=json)


def delete_run(
    run_id: RunId, /, *, yes: Yes = False, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Delete an ended run with its events and artifacts. Needs the scope admin."""
    with connected(server) as client:
        run = client.runs.get(run_id)
        confirm(f"Delete {run.run_id} ({run.status}) with its events and artifacts?", yes=yes)
        done = client.runs.delete(run_id)
    print_result(done, "deleted", json=json)


def run_usage(run_id: RunId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Show the tokens of a run, of its descendants and of its family, by model."""
    with connected(server) as client:
        used = client.runs.usage(run_id)
    if json:
        write_out(document(used))
        return
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
    write_out(table(columns, rows, Screen.of()))


def run_token(
    run_id: RunId,
    /,
    *,
    expires_in: Annotated[str, Parameter(help="At most 1d")] = "1h",
    family: Annotated[bool, Parameter(help="Also read its descendants", negative="")] = False,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Print a token that reads one run and its events, and nothing else: for a browser."""
    seconds = parse_seconds("--expires-in", expires_in)
    with connected(server) as client:
        made = client.runs.access_token(run_id, expires_in_seconds=seconds, family=family)
    print_result(made, made.token, json=json)
