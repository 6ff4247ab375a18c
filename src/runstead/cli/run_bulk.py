"""`runstead runs bulk start|show|stop`: one action on all runs that match a filter."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.run_group import runs
from runstead.cli.shared.command import Client, Output, command
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import EVERY_RUN, RunSelection, Yes
from runstead.cli.shared.output import confirm, fail, write_err
from runstead.cli.shared.render import safe

if TYPE_CHECKING:
    from runstead.sdk.models.bulk_job import BulkJob

JobId = Annotated[str, Parameter(help="The job's id")]
_POLL_S = 0.5
#: More runs than a job can have are not counted.
_COUNTED_MAX = 10_000

bulk = App(name="bulk", help="Cancel, retry or delete all runs that match a filter.")
runs.command(bulk)


@command(bulk, "start", project=True)
def start_bulk(
    client: Client,
    action: Annotated[Literal["cancel", "retry", "delete"], "What happens to each run"],
    /,
    *,
    chosen: RunSelection = EVERY_RUN,
    from_step: Annotated[str | None, "For retry: keep the results before this step, or failed"] = None,
    yes: Yes = False,
    wait: Annotated[bool, Parameter(help="Wait for the end of the job", negative="--no-wait")] = True,
) -> Output:
    """Begin a job on exactly the runs that match now. It shows how many and asks."""
    filters = {name: one for name, one in chosen.filters().items() if one}
    if not filters:
        fail("choose the runs with at least one filter, such as --status or --target", USAGE)
    if from_step is not None and action != "retry":
        fail("--from-step is for the action retry", USAGE)
    if not yes:
        found = client.runs.iter(fields=("run_id",), limit=100, **filters)
        count = sum(1 for _, _ in zip(found, range(_COUNTED_MAX), strict=False))
        if not count:
            write_err("no matching runs")
            sys.exit(0)
        confirm(f"{action.capitalize()} {count:,} {'run' if count == 1 else 'runs'}?", yes=False)
    job = client.bulk_jobs.create(action, from_step=from_step, **filters)
    shown = ""
    while wait and job.status == "running":
        if (line := _progress(job)) != shown:
            write_err(line)
            shown = line
        time.sleep(_POLL_S)
        job = client.bulk_jobs.get(job.id)
    failed = wait and (job.failed > 0 or job.status != "completed")
    return _described(job)._replace(exit_code=int(failed))


@command(bulk, "show", project=True)
def show_bulk(client: Client, job_id: JobId, /) -> Output:
    """Show a job with its progress."""
    return _described(client.bulk_jobs.get(job_id))


@command(bulk, "stop", project=True)
def stop_bulk(client: Client, job_id: JobId, /) -> Output:
    """Stop a job. What it has done stays."""
    return _described(client.bulk_jobs.cancel(job_id))


def _progress(job: "BulkJob") -> str:
    refused = f", {job.failed:,} refused" if job.failed else ""
    return f"{job.done + job.failed:,} of {job.total:,}{refused}"


def _described(job: "BulkJob") -> Output:
    text = f"{safe(job.id)}  {safe(job.action)}  {safe(job.status)}  {_progress(job)}"
    refusals = [f"runstead: {safe(one.run_id)}: {safe(one.message)} ({safe(one.code)})" for one in job.errors]
    return Output(job, text, "\n".join(refusals))
