"""`runstead runs logs`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from runstead.cli.run_group import runs
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.log_entries import LogFilter, rest_of_log
from runstead.cli.shared.options import AsJson, RunId
from runstead.cli.shared.output import write_err, write_out
from runstead.cli.shared.render import document, safe

Level = Literal["debug", "info", "warning", "error", "critical"]


@runs.command(name="logs")
def run_logs(
    run_id: RunId,
    /,
    *,
    follow: Annotated[
        bool, Parameter(name=("--follow", "-f"), help="Wait for new lines until the run has ended")
    ] = False,
    search: Annotated[str | None, Parameter(help="Only entries that contain this text")] = None,
    level: Annotated[Level | None, Parameter(help="Only entries of this level or a higher one")] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Print the run's log. Each line has its time, its level, its attempt and its step."""
    from runstead.cli.shared.watch_run import log_lines  # noqa: PLC0415

    chosen, last = LogFilter(search, level), None

    def show(text: str) -> None:
        if (kept := chosen.keep(text)) is not None:
            write_out(
                document({"run_id": run_id, "lines": kept}) if json else safe(kept, lines=True), flush=True
            )

    with connected(server) as client:
        run = client.runs.get(run_id)
    with connected(server, patient=follow) as client:
        if not run.terminal or run.logs is None:
            source = client.events.follow if follow else client.events.iter
            for event in source(run_id, event_types=["CUSTOM"]):
                if (lines := log_lines(event)) is not None:
                    show(lines)
                    last = lines
            run = client.runs.get(run_id)
    rest = rest_of_log(run.logs, last) if run.terminal or last is None else ""
    if rest:
        show(rest)
    elif last is None:
        write_err("runstead: the run has no log" + ("" if run.terminal else " yet; -f waits for it"))
