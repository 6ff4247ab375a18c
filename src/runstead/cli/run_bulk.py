"""`runstead runs bulk start|show|stop`: one action on all runs that match a filter."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import EVERY_RUN, AsJson, RunSelection, Yes
from runstead.cli.shared.output import confirm, fail, write_err, write_out
from runstead.cli.shared.render import document, safe

if TYPE_CHECKING:
    from runstead.sdk.models.bulk_job import BulkJob

JobId = Annotated[str, Parameter(help="The job's id")]
_POLL_S = 0.5
#: More runs than a job can have are not counted.
_COUNTED_MAX = 10_000

bulk = App(name="bulk", help="Cancel, retry or delete all runs that match a filter.")


@bulk.command(name="start")
def start_bulk(
    action: Annotated[Literal["cancel", "retry", "delete"], Parameter(help="What happens to each run")],
    /,
    *,
    chosen: RunSelection = EVERY_RUN,
    from_step: Annotated[
        str | None, Parameter(help="For retry: keep the results before this step, or failed")
    ] = None,
    yes: Yes = False,
    wait: Annotated[bool, Parameter(help="Wait for the end of the job", negative="--no-wait")] = True,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Begin a job on exactly the runs that match now. It shows how many and asks."""
    filters = {name: one for name, one in chosen.filters().items() if one}
    if not filters:
        fail("choose the runs with at least one filter, such as --status or --target", USAGE)
    if from_step is not None and action != "retry":
        fail("--from-step is for the action retry", USAGE)
    with connected(server, project=True) as client:
        if not yes:
            found = client.runs.iter(fields=("run_id",), limit=100, **filters)
            count = sum(1 for _, _ in zip(found, range(_COUNTED_MAX), strict=False))
            if not count:
                write_err("no matching runs")
                return
            confirm(f"{action.capitalize()} {count:,} {'run' if count == 1 else 'runs'}?", yes=False)
        job = client.bulk_jobs.create(action, from_step=from_step, **filters)
        if not wait:
            _show(job, json=json)
            return
        shown = ""
        while job.status == "running":
            if (line := _progress(job)) != shown:
                write_err(line)
                shown = line
            time.sleep(_POLL_S)
            job = client.bulk_jobs.get(job.id)
    _show(job, json=json)
    if job.failed or job.status != "completed":
        sys.exit(1)


@bulk.command(name="show")
def show_bulk(job_id: JobId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Show a job with its progress."""
    with connected(server, project=True) as client:
        _show(client.bulk_jobs.get(job_id), json=json)


@bulk.command(name="stop")
def stop_bulk(job_id: JobId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Stop a job. What it has done stays."""
    with connected(server, project=True) as client:
        _show(client.bulk_jobs.cancel(job_id), json=json)


def _progress(job: "BulkJob") -> str:
    refused = f", {job.failed:,} refused" if job.failed else ""
    return f"{job.done + job.failed:,} of {job.total:,}{refused}"


def _show(job: "BulkJob", *, json: bool) -> None:
    if json:
        write_out(document(job))
        return
    write_out(f"{safe(job.id)}  {safe(job.action)}  {safe(job.status)}  {_progress(job)}")
    for one in job.errors:
        write_err(f"runstead: {safe(one.run_id)}: {safe(one.message)} ({safe(one.code)})")
