"""`runstead runs …`: commands that read runs. Commands that change them are in `run_changes.py`."""

import sys
from itertools import islice
from typing import Annotated, Any

from cyclopts import Parameter
from msgspec.json import encode

from runstead.cli import (  # noqa: F401 - each adds its commands to the group
    run_bulk,
    run_cancel,
    run_changes,
    run_compensations,
    run_logs,
    run_output,
    run_signals,
    run_states,
)
from runstead.cli.run_group import runs
from runstead.cli.shared.command import Client, Output, command, listed
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import EVERY_RUN, AsJson, RunId, RunSelection
from runstead.cli.shared.output import fail, write_out
from runstead.cli.shared.render import Screen, details, document, format_time, table
from runstead.cli.shared.run_tables import (
    RUN_FIELDS,
    attempt_columns,
    format_tree,
    run_columns,
    run_details,
    value_columns,
)

runs.command("runstead.cli.run_artifacts:artifacts", name="artifacts", help="List and download artifacts.")


@command(runs, "list", project=True)
def list_runs(
    client: Client,
    *,
    chosen: RunSelection = EVERY_RUN,
    slowest: Annotated[bool, "Only started runs, the longest first"] = False,
    limit: Annotated[int, "Maximum number; 0: all"] = 50,
    json: bool,
) -> Output:
    """List a project's runs, newest first."""
    parameters: dict[str, Any] = chosen.filters() | {
        "limit": min(limit, 100) or 100,
        "fields": None if json else RUN_FIELDS,
    }
    if slowest:
        parameters["sort"] = "duration"
    found = list(islice(client.runs.iter(**parameters), limit or None))
    return listed(found, run_columns(Screen.of()), "runs")


@command(runs, "get")
def get_run(client: Client, run_id: RunId, /, *, json: bool) -> Output:
    """Show one run with its values and attempts."""
    from runstead.cli.shared.watch_run import wait_end  # noqa: PLC0415
    from runstead.sdk.routes.values import plain  # noqa: PLC0415

    run = client.runs.get(run_id)
    if json:
        return Output(run)
    if client.codec is not None:
        run = plain(run, client.codec)
    attempts = list(client.runs.iter_attempts(run_id))
    values = client.runs.values(run_id).data
    ends_at = wait_end(client, run)
    screen = Screen.of()
    parts = [details(run_details(run, screen, ends_at), screen)]
    if values:
        parts.append(table(value_columns(screen), values, screen))
    if attempts:
        parts.append(table(attempt_columns(), attempts, screen))
    return Output(run, "\n\n".join(parts))


@command(runs, "values")
def get_values(
    client: Client,
    run_id: RunId,
    name: Annotated[str | None, "Print only this value, as JSON"] = None,
    /,
) -> Output:
    """Show the values that a run's worker has set."""
    values = client.runs.values(run_id)
    if name is None:
        return listed(values.data, value_columns(Screen.of()), "values")
    found = [one for one in values.data if one.name == name]
    if not found:
        fail(f"the run has no value named {name!r}")
    return Output(found[0], document(found[0].value))


@runs.command(name="watch")
def watch(
    run_id: RunId,
    /,
    *,
    family: Annotated[bool, Parameter(help="Also follow its descendants")] = False,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Follow a run to its end; the exit code is its outcome. Ctrl-C leaves the run running."""
    from runstead.cli.shared.watch_run import watch_run  # noqa: PLC0415

    sys.exit(watch_run(server, run_id, json=json, family=family))


@runs.command(name="events")
def events(
    run_id: RunId,
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=("--follow", "-f"), help="Wait for new events until the run has ended")
    ] = False,
    after: Annotated[int, Parameter(help="Only events after this event id")] = 0,
    type: Annotated[list[str] | None, Parameter(help="Such as STEP_FINISHED; may repeat")] = None,  # noqa: A002 - the option's name
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Print the run's events, one per line."""
    screen = Screen.of()
    with connected(server) as client:
        client.runs.get(run_id)
    with connected(server, patient=follow) as client:
        source = client.events.follow if follow else client.events.iter
        for event in source(run_id, after_event_id=after, event_types=type or []):
            if json:
                write_out(document(event), flush=True)
                continue
            rest = {name: one for name, one in event.payload.items() if name != "type"}
            at = f"{format_time(event.created_at)}  " if event.created_at else ""
            by = f"{event.source:<6}  " if event.source else ""
            line = f"{event.event_id:>6}  {at}{by}{event.event_type}  {encode(rest).decode()}"
            write_out(screen.line(line), flush=True)


@command(runs, "tree")
def tree(client: Client, run_id: RunId, /, *, json: bool) -> Output:
    """Show the run's family as a tree."""
    family = list(client.runs.iter_tree(run_id, fields=None if json else RUN_FIELDS))
    return Output(family, format_tree(family, run_id, Screen.of()))
