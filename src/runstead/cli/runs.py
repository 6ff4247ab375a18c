"""`runstead runs …`: commands that read runs. Commands that change them are in `run_changes.py`."""

import sys
from itertools import islice
from typing import Annotated, Any

from cyclopts import App, Parameter
from msgspec.json import encode

from runstead.cli import (
    run_bulk,
    run_cancel,
    run_changes,
    run_compensations,
    run_logs,
    run_output,
    run_signals,
    run_states,
)
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import EVERY_RUN, AsJson, RunId, RunSelection
from runstead.cli.shared.output import fail, write_out
from runstead.cli.shared.render import Screen, details, document, format_time, table
from runstead.cli.shared.results import print_list
from runstead.cli.shared.run_tables import (
    RUN_FIELDS,
    attempt_columns,
    format_tree,
    run_columns,
    run_details,
    value_columns,
)

runs = App(name="runs", help="Create, follow, cancel and retry runs.")
runs.command(run_changes.create_run, name="create")
runs.command(run_cancel.cancel_runs, name="cancel")
runs.command(run_logs.run_logs, name="logs")
runs.command(run_output.run_output, name="output")
runs.command(run_states.pause_run, name="pause")
runs.command(run_states.unpause_run, name="unpause")
runs.command(run_states.delete_run, name="delete")
runs.command(run_states.run_usage, name="usage")
runs.command(run_states.run_token, name="token")
runs.command("runstead.cli.run_artifacts:artifacts", name="artifacts", help="List and download artifacts.")
runs.command(run_changes.retry_run, name="retry")
runs.command(run_changes.resume_run, name="resume")
runs.command(run_changes.approve_run, name="approve")
runs.command(run_changes.reject_run, name="reject")
runs.command(run_bulk.bulk)
runs.command(run_signals.signal_run, name="signal")
runs.command(run_signals.list_signals, name="signals")
runs.command(run_compensations.list_compensations, name="compensations")


@runs.command(name="list")
def list_runs(
    *,
    chosen: RunSelection = EVERY_RUN,
    slowest: Annotated[bool, Parameter(help="Only started runs, the longest first", negative="")] = False,
    limit: Annotated[int, Parameter(help="Maximum number; 0: all")] = 50,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """List a project's runs, newest first."""
    parameters: dict[str, Any] = chosen.filters() | {
        "limit": min(limit, 100) or 100,
        "fields": None if json else RUN_FIELDS,
    }
    if slowest:
        parameters["sort"] = "duration"
    with connected(server, project=True) as client:
        found = list(islice(client.runs.iter(**parameters), limit or None))
    print_list(found, run_columns(Screen.of()), "runs", json=json)


@runs.command(name="get")
def get_run(run_id: RunId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Show one run with its values and attempts."""
    from runstead.cli.shared.watch_run import wait_end  # noqa: PLC0415
    from runstead.sdk.routes.values import plain  # noqa: PLC0415

    with connected(server) as client:
        run = client.runs.get(run_id)
        if json:
            write_out(document(run))
            return
        if client.codec is not None:
            run = plain(run, client.codec)
        attempts = list(client.runs.iter_attempts(run_id))
        values = client.runs.values(run_id).data
        ends_at = wait_end(client, run)
    screen = Screen.of()
    write_out(details(run_details(run, screen, ends_at), screen))
    if values:
        write_out("")
        write_out(table(value_columns(screen), values, screen))
    if attempts:
        write_out("")
        write_out(table(attempt_columns(), attempts, screen))


@runs.command(name="values")
def get_values(
    run_id: RunId,
    name: Annotated[str | None, Parameter(help="Print only this value, as JSON")] = None,
    /,
    *,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Show the values that a run's worker has set."""
    with connected(server) as client:
        values = client.runs.values(run_id)
    if name is None:
        print_list(values.data, value_columns(Screen.of()), "values", json=json)
        return
    found = [one for one in values.data if one.name == name]
    if not found:
        fail(f"the run has no value named {name!r}")
    write_out(document(found[0] if json else found[0].value))


@runs.command(name="watch")
def watch(
    run_id: RunId,
    /,
    *,
    family: Annotated[bool, Parameter(help="Also follow its descendants", negative="")] = False,
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
        bool,
        Parameter(name=("--follow", "-f"), help="Wait for new events until the run has ended", negative=""),
    ] = False,
    after: Annotated[int, Parameter(help="Only events after this event id")] = 0,
    type: Annotated[  # noqa: A002 - the option's name
        list[str] | None, Parameter(help="Such as STEP_FINISHED; may repeat", negative="")
    ] = None,
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


@runs.command(name="tree")
def tree(run_id: RunId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Show the run's family as a tree."""
    with connected(server) as client:
        family = list(client.runs.iter_tree(run_id, fields=None if json else RUN_FIELDS))
    write_out(document(family) if json else format_tree(family, run_id, Screen.of()))
