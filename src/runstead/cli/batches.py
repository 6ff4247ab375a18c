"""`runstead batches …`."""

import sys
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, Parameter

from runstead.cli.shared.batch_progress import ended, progress_line
from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.exit_codes import CANCELLED, FAILED, USAGE
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.output import fail, write_err, write_out
from runstead.cli.shared.parsing import json_list, json_object
from runstead.cli.shared.render import Column, Screen, age_column, details, document, format_time, value
from runstead.core.batches.batch import shown_status
from runstead.core.batches.eta import Eta

if TYPE_CHECKING:
    from runstead.sdk.models.batch import Batch, BatchProgress, CreatedBatch

BatchId = Annotated[str, Parameter(help="The batch's id")]

batches = App(name="batches", help="Create batches of runs and follow their progress.")


@command(batches, "list", project=True)
def list_batches(client: Client, *, limit: Annotated[int, "Number of batches, at most 100"] = 50) -> Output:
    """List a project's batches, newest first."""
    found = client.batches.list(limit=limit).data
    columns: list[Column[Batch]] = [
        Column("BATCH", lambda one: one.id, keep_whole=True),
        Column("STATUS", lambda one: shown_status(one.status, one.status_counts.failed), status=True),
        Column("ENDED", lambda one: f"{ended(one.status_counts)}/{one.total}", number=True),
        Column("FAILED", lambda one: str(one.status_counts.failed), drop_rank=2, number=True),
        age_column("CREATED", lambda one: one.created_at, drop_rank=1),
        Column("NAME", lambda one: one.name or "", drop_rank=3),
    ]
    return listed(found, columns, "batches")


@command(batches, "get", project=True)
def get_batch(client: Client, batch_id: BatchId, /) -> Output:
    """Show one batch with its counts."""
    one = client.batches.get(batch_id)
    counts = one.status_counts
    count_rows = [
        (state, str(getattr(counts, state))) for state in counts.__struct_fields__ if getattr(counts, state)
    ]
    after = one.on_complete
    rows = [
        ("batch", one.id),
        ("status", shown_status(one.status, counts.failed)),
        ("name", one.name),
        ("total", str(one.total)),
        *count_rows,
        ("created", format_time(one.created_at) or None),
        ("completed", format_time(one.completed_at) or None),
        ("cancel requested", format_time(one.cancel_requested_at) or None),
        ("reason", one.cancel_reason),
        ("then", None if after is None else f"{after.target} {after.run_id or ''}".rstrip()),
        ("then config", None if after is None else value(after.config)),
    ]
    return Output(one, details(rows, Screen.of()))


@batches.command(name="watch")
def watch(batch_id: BatchId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Follow a batch to its end; the exit code is the outcome. Ctrl-C leaves the batch running."""
    with connected(server, project=True) as client:
        client.batches.get(batch_id)
        project = client.project
    _watch(server, project, batch_id, json=json)


def _watch(server: ServerOptions, project: str | None, batch_id: str, *, json: bool) -> NoReturn:
    with connected(server, patient=True) as client:
        client.project = project
        sys.exit(_watched(client, batch_id, json=json))


def _watched(client: Client, batch_id: str, *, json: bool) -> int:
    eta, last = Eta(), None
    try:
        for last in client.batches.follow(batch_id):
            if json:
                write_out(document(last), flush=True)
            else:
                left_ms = eta.time_left_ms(ended(last.status_counts), last.total, round(monotonic() * 1_000))
                _draw(last, None if left_ms is None else left_ms / 1_000, Screen.of())
    finally:
        if last is not None and not json and Screen.of().width is not None:
            write_out("")
    if last is None:
        return 1
    if not json:
        write_err(shown_status(last.status, last.status_counts.failed))
    if last.status_counts.failed:
        return FAILED
    return CANCELLED if last.status == "cancelled" or last.status_counts.cancelled else 0


def _draw(progress: "BatchProgress", left_s: float | None, screen: "Screen") -> None:
    line = progress_line(progress, left_s, screen)
    if screen.width is None:
        write_out(line, flush=True)
    else:
        write_out(f"\r\x1b[K{line}", end="", flush=True)


@command(batches, "cancel", project=True)
def cancel_batch(
    client: Client,
    batch_id: BatchId,
    /,
    *,
    reason: Annotated[str | None, "Recorded with the cancellation"] = None,
) -> Output:
    """Cancel a batch and all of its runs that have not ended."""
    done = client.batches.cancel(batch_id, reason)
    how = done.batch.status if done.cancelled else f"nothing to cancel: it is {done.batch.status}"
    return one_line(done, f"{done.batch.id}  {how}")


@batches.command(name="retry")
def retry_batch(
    batch_id: BatchId,
    /,
    *,
    cancelled: Annotated[bool, Parameter(help="Retry the cancelled runs too")] = False,
    name: Annotated[str | None, Parameter(help="Name of the new batch; else the same name")] = None,
    wait: Annotated[bool, Parameter(help="Follow it to its end")] = False,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Retry the failed runs of a batch as a new batch."""
    with connected(server, project=True) as client:
        made = client.batches.retry(batch_id, cancelled=cancelled, name=name)
        project = client.project
    _show_new(made, project, server, wait=wait, json=json)


def _show_new(
    made: "CreatedBatch", project: str | None, server: ServerOptions, *, wait: bool, json: bool
) -> None:
    if wait:
        write_err(made.batch.id)
        _watch(server, project, made.batch.id, json=json)
    write_out(document(made) if json else made.batch.id)


@batches.command(name="create")
def create_batch(
    target: Annotated[str | None, Parameter(help="task:…, workflow:… or eval:…; used with --inputs")] = None,
    /,
    *,
    inputs: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="One input per run: a JSON array or one JSON value per line; @file or -",
        ),
    ] = None,
    runs: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="Instead of both: the runs as in the API's request; JSON, @file or -",
        ),
    ] = None,
    config_json: Annotated[
        str | None, Parameter(help="With --inputs: the config of all runs, a JSON object")
    ] = None,
    name: Annotated[str | None, Parameter(help="Name of the batch")] = None,
    then: Annotated[str | None, Parameter(help="Target of the follow-up run")] = None,
    wait: Annotated[bool, Parameter(help="Follow it to its end")] = False,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Create up to 1,000 runs at once, all of them or none."""
    if (runs is None) == (target is None or inputs is None):
        fail("name the runs: a target with --inputs, or --runs", USAGE)
    wanted = (
        json_list("--runs", runs) if runs is not None else _runs_of(target or "", inputs or "", config_json)
    )
    after = None if then is None else {"target": then}
    with connected(server, project=True) as client:
        made = client.batches.create(wanted, name=name, on_complete=after)
        project = client.project
    _show_new(made, project, server, wait=wait, json=json)


def _runs_of(target: str, inputs: str, config_json: str | None) -> list[dict[str, Any]]:
    kind, _, name = target.partition(":")
    request: dict[str, Any] = {"target": target}
    if kind == "workflow":
        request["workflow_id"] = name
    if config_json is not None:
        request["config"] = json_object("--config-json", config_json)
    return [{"kind": kind, "request": request | {"input": one}} for one in json_list("--inputs", inputs)]
