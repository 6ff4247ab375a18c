"""`runstead runs …`: reading and following. What changes runs is in `run_changes.py`."""

import sys
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from runstead.cli import run_changes
from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import say, tell

Status = Literal["pending", "running", "waiting", "completed", "failed", "cancelled"]
Kind = Literal["agent", "workflow", "task", "eval"]
RunId = Annotated[str, Parameter(help="The run's id")]

runs = App(name="runs", help="Create, follow, cancel and retry runs.")
runs.command(run_changes.create_run, name="create")
runs.command(run_changes.cancel_runs, name="cancel")
runs.command(run_changes.retry_run, name="retry")
runs.command(run_changes.resume_run, name="resume")


@runs.command(name="list")
def list_runs(
    *,
    status: Annotated[list[Status] | None, Parameter(help="May repeat", negative="")] = None,
    kind: Annotated[list[Kind] | None, Parameter(help="May repeat", negative="")] = None,
    target: Annotated[list[str] | None, Parameter(help="Like task:sum; may repeat", negative="")] = None,
    label: Annotated[list[str] | None, Parameter(help="key:value; may repeat", negative="")] = None,
    batch: Annotated[str | None, Parameter(help="Of this batch")] = None,
    schedule: Annotated[str | None, Parameter(help="Of this schedule")] = None,
    parent: Annotated[str | None, Parameter(help="Right below this run")] = None,
    root_only: Annotated[bool, Parameter(help="Only runs without a parent", negative="")] = False,
    search: Annotated[str | None, Parameter(help="Text in id, title or target")] = None,
    since: Annotated[str | None, Parameter(help="Created after: a time, or a span such as 2h")] = None,
    until: Annotated[str | None, Parameter(help="Created before: a time, or a span such as 2h")] = None,
    slowest: Annotated[bool, Parameter(help="Those that have begun, the longest first", negative="")] = False,
    limit: Annotated[int, Parameter(help="How many at most; 0: all")] = 50,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """List a project's runs, newest first."""
    from itertools import islice  # noqa: PLC0415

    from runstead.cli.shared.parsing import moment  # noqa: PLC0415
    from runstead.cli.shared.render import Screen  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list, run_columns  # noqa: PLC0415

    filters: dict[str, Any] = {
        "status": status,
        "kind": kind,
        "target": target,
        "label": label,
        "batch_id": batch,
        "schedule_id": schedule,
        "parent_run_id": parent,
        "root_only": root_only or None,
        "q": search,
        "created_after": None if since is None else moment("--since", since),
        "created_before": None if until is None else moment("--until", until),
        "sort": "duration" if slowest else None,
        "limit": min(limit, 100) or 100,
    }
    with connected(reach, project=True) as client:
        given = {name: one for name, one in filters.items() if one is not None}
        found = list(islice(client.iter_runs(**given), limit or None))
    print_list(found, run_columns(Screen.of()), "runs", json=json)


@runs.command(name="get")
def get_run(run_id: RunId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Show one run with its attempts."""
    from runstead.cli.shared.render import Screen, document, members, table  # noqa: PLC0415
    from runstead.cli.shared.run_tables import attempt_columns, run_members  # noqa: PLC0415

    with connected(reach) as client:
        run = client.get_run(run_id)
        if json:
            say(document(run))
            return
        attempts = client.attempts(run_id).data
    screen = Screen.of()
    say(members(run_members(run, screen), screen))
    if attempts:
        say("")
        say(table(attempt_columns(), attempts, screen))


@runs.command(name="watch")
def watch(
    run_id: RunId,
    /,
    *,
    family: Annotated[bool, Parameter(help="Also the runs below it", negative="")] = False,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Follow a run until it has ended; the exit code tells how. Ctrl-C leaves it running."""
    from runstead.cli.shared.watch_run import watch_run  # noqa: PLC0415

    sys.exit(watch_run(reach, run_id, json=json, family=family))


@runs.command(name="logs")
def logs(
    run_id: RunId,
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=("--follow", "-f"), help="Wait for what is to come, until the end", negative="")
    ] = False,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Print the run's log."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415
    from runstead.cli.shared.watch_run import log_lines  # noqa: PLC0415

    told = False

    def line(text: str) -> None:
        say(document({"run_id": run_id, "lines": text}) if json else safe(text, lines=True), flush=True)

    with connected(reach) as client:
        run = client.get_run(run_id)
    with connected(reach, patient=follow) as client:
        if not run.terminal or run.logs is None:
            source = client.follow if follow else client.events
            for event in source(run_id, event_types=["CUSTOM"]):
                if (lines := log_lines(event)) is not None:
                    line(lines)
                    told = True
            run = client.get_run(run_id)
    if not told and run.logs is not None:
        line(run.logs.rstrip("\n"))
    elif not told:
        tell("runstead: the run has written no log" + ("" if run.terminal else " yet; -f waits for it"))


@runs.command(name="events")
def events(
    run_id: RunId,
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=("--follow", "-f"), help="Go on with those to come, until the end", negative="")
    ] = False,
    after: Annotated[int, Parameter(help="Only those after this event id")] = 0,
    type: Annotated[  # noqa: A002 - the option's name
        list[str] | None, Parameter(help="Like STEP_FINISHED; may repeat", negative="")
    ] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Print the run's events, one a line."""
    from msgspec.json import encode  # noqa: PLC0415

    from runstead.cli.shared.render import Screen, document, when  # noqa: PLC0415

    screen = Screen.of()
    with connected(reach) as client:
        client.get_run(run_id)
    with connected(reach, patient=follow) as client:
        source = client.follow if follow else client.events
        for event in source(run_id, after_event_id=after, event_types=type or []):
            if json:
                say(document(event), flush=True)
                continue
            rest = {name: one for name, one in event.payload.items() if name != "type"}
            at = f"{when(event.created_at)}  " if event.created_at else ""
            say(
                screen.line(f"{event.event_id:>6}  {at}{event.event_type}  {encode(rest).decode()}"),
                flush=True,
            )


@runs.command(name="tree")
def tree(run_id: RunId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Show the run's whole family, each run below its parent."""
    from runstead.cli.shared.render import Screen, document  # noqa: PLC0415
    from runstead.cli.shared.run_tables import branches  # noqa: PLC0415

    with connected(reach) as client:
        family = client.tree(run_id).data
    say(document(family) if json else branches(family, run_id, Screen.of()))
