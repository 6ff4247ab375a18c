"""`runstead runs …`: commands that read runs. Commands that change them are in `run_changes.py`."""

import sys
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from msgspec.json import encode

from runstead.cli import (  # noqa: F401 - each adds its commands to the group
    run_bulk,
    run_cancel,
    run_changes,
    run_logs,
    run_output,
    run_states,
)
from runstead.cli.run_group import runs
from runstead.cli.shared.command import Client, Output, command, listed
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import EVERY_RUN, AsJson, RunId, RunSelection
from runstead.cli.shared.output import fail, write_out
from runstead.cli.shared.render import (
    Column,
    Screen,
    age_column,
    details,
    document,
    format_time,
    table,
    value,
)
from runstead.cli.shared.run_tables import (
    RUN_FIELDS,
    attempt_columns,
    format_tree,
    run_columns,
    run_details,
    value_columns,
)

if TYPE_CHECKING:
    from runstead.sdk.models.run import Compensation, Signal

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


@command(runs, "signals")
def list_signals(
    client: Client,
    run_id: RunId,
    /,
    *,
    taken: Annotated[
        bool | None, Parameter(help="Only those that the run has taken, or not", negative="--not-taken")
    ] = None,
) -> Output:
    """List the signals of a run, oldest first."""
    found = list(client.runs.iter_signals(run_id, taken=taken))
    columns: list[Column[Signal]] = [
        Column("SIGNAL", lambda one: one.name, keep_whole=True),
        Column("PAYLOAD", lambda one: value(one.payload) or "null"),
        age_column("SENT", lambda one: one.created_at, drop_rank=2),
        Column("TAKEN BY EVENT", lambda one: "" if one.event_id is None else str(one.event_id), drop_rank=1),
    ]
    return listed(found, columns, "signals")


@command(runs, "compensations")
def list_compensations(client: Client, run_id: RunId, /) -> Output:
    """List the compensations of a run, in the order of their registration, with their runs once it has ended."""
    found = client.runs.compensations(run_id).data
    columns: list[Column[Compensation]] = [
        Column("NUMBER", lambda one: str(one.number), number=True),
        Column("TARGET", lambda one: one.target, keep_whole=True),
        Column("TITLE", lambda one: one.title or "", drop_rank=2),
        age_column("REGISTERED", lambda one: one.created_at, drop_rank=3),
        Column("RUN", lambda one: one.run_id or "", drop_rank=1),
    ]
    return listed(found, columns, "compensations")
