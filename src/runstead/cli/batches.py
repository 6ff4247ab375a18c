"""`runstead batches …`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import refuse, say, tell

if TYPE_CHECKING:
    from runstead.cli.shared.render import Screen
    from runstead.sdk import Batch, BatchProgress, Client, CreatedBatch

BatchId = Annotated[str, Parameter(help="The batch's id")]
USAGE = 2

batches = App(name="batches", help="Many runs at once, and how far they are.")


@batches.command(name="list")
def list_batches(
    *,
    limit: Annotated[int, Parameter(help="How many at most, up to 100")] = 50,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """List a project's batches, newest first."""
    from runstead.cli.shared.eta import ended  # noqa: PLC0415
    from runstead.cli.shared.render import Column, Screen, age  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    with connected(reach, project=True) as client:
        found = client.list_batches(limit=limit).data
    screen = Screen.of()
    columns: list[Column[Batch]] = [
        Column("BATCH", lambda one: one.id, whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("ENDED", lambda one: f"{ended(one.status_counts)}/{one.total}", number=True),
        Column("FAILED", lambda one: str(one.status_counts.failed), leaves=2, number=True),
        Column("CREATED", lambda one: age(one.created_at, screen), leaves=1, whole=True),
        Column("NAME", lambda one: one.name or "", leaves=3),
    ]
    print_list(found, columns, "batches", json=json)


@batches.command(name="get")
def get_batch(batch_id: BatchId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Show one batch with its counts."""
    from runstead.cli.shared.render import Screen, document, members, value, when  # noqa: PLC0415

    with connected(reach, project=True) as client:
        one = client.get_batch(batch_id)
    if json:
        say(document(one))
        return
    counts = one.status_counts
    told = [
        (state, str(getattr(counts, state))) for state in counts.__struct_fields__ if getattr(counts, state)
    ]
    after = one.on_complete
    say(
        members(
            [
                ("batch", one.id),
                ("status", one.status),
                ("name", one.name),
                ("total", str(one.total)),
                *told,
                ("created", when(one.created_at) or None),
                ("completed", when(one.completed_at) or None),
                ("cancel asked", when(one.cancel_requested_at) or None),
                ("reason", one.cancel_reason),
                ("then", None if after is None else f"{after.target} {after.run_id or ''}".rstrip()),
                ("then config", None if after is None else value(after.config)),
            ],
            Screen.of(),
        )
    )


@batches.command(name="watch")
def watch(batch_id: BatchId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Follow a batch until all its runs have ended; the exit code tells how. Ctrl-C leaves it running."""
    with connected(reach, project=True) as client:
        client.get_batch(batch_id)
        project = client.project
    with connected(reach, patient=True) as client:
        client.project = project
        sys.exit(_watch(client, batch_id, json=json))


def _watch(client: "Client", batch_id: str, *, json: bool) -> int:
    from time import monotonic  # noqa: PLC0415

    from runstead.cli.shared.eta import Pace  # noqa: PLC0415
    from runstead.cli.shared.exit_codes import CANCELLED, FAILED  # noqa: PLC0415
    from runstead.cli.shared.render import Screen, document  # noqa: PLC0415

    pace, last = Pace(), None
    try:
        for last in client.follow_batch(batch_id):
            if json:
                say(document(last), flush=True)
            else:
                _draw(last, pace.left_s(last, monotonic()), Screen.of())
    finally:
        if last is not None and not json and Screen.of().width is not None:
            say("")
    if last is None:
        return 1
    if not json:
        tell(last.status)
    if last.status_counts.failed:
        return FAILED
    return CANCELLED if last.status == "cancelled" or last.status_counts.cancelled else 0


def _draw(progress: "BatchProgress", left_s: float | None, screen: "Screen") -> None:
    from runstead.cli.shared.eta import progress_line  # noqa: PLC0415

    line = progress_line(progress, left_s, screen)
    if screen.width is None:
        say(line, flush=True)
    else:
        say(f"\r\x1b[K{line}", end="", flush=True)


@batches.command(name="cancel")
def cancel_batch(
    batch_id: BatchId,
    /,
    *,
    reason: Annotated[str | None, Parameter(help="For whoever looks")] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Call off a batch, with every run of it that has not ended."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    with connected(reach, project=True) as client:
        done = client.cancel_batch(batch_id, reason)
    how = done.batch.status if done.cancelled else f"nothing to cancel: it is {done.batch.status}"
    say(document(done) if json else f"{safe(done.batch.id)}  {how}")


@batches.command(name="retry")
def retry_batch(
    batch_id: BatchId,
    /,
    *,
    cancelled: Annotated[bool, Parameter(help="Also the runs that were cancelled", negative="")] = False,
    name: Annotated[str | None, Parameter(help="What people call the new one; else as the first")] = None,
    wait: Annotated[bool, Parameter(help="Follow it to its end", negative="")] = False,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Run the failed runs of a batch again, as a new batch."""
    with connected(reach, project=True) as client:
        made = client.retry_batch(batch_id, cancelled=cancelled, name=name)
        project = client.project
    _show_new(made, project, reach, wait=wait, json=json)


def _show_new(made: "CreatedBatch", project: str | None, reach: Reach, *, wait: bool, json: bool) -> None:
    from runstead.cli.shared.render import document  # noqa: PLC0415

    if not wait:
        say(document(made) if json else made.batch.id)
        return
    tell(made.batch.id)
    with connected(reach, patient=True) as client:
        client.project = project
        sys.exit(_watch(client, made.batch.id, json=json))


@batches.command(name="create")
def create_batch(
    target: Annotated[str | None, Parameter(help="task:…, workflow:… or eval:…, for all of --inputs")] = None,
    /,
    *,
    inputs: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="One input for each run: a JSON array or one JSON value a line; @file or -",
        ),
    ] = None,
    runs: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="Instead of both: the runs as the API takes them; JSON, @file or -",
        ),
    ] = None,
    config_json: Annotated[str | None, Parameter(help="With --inputs: a JSON object for all of them")] = None,
    name: Annotated[str | None, Parameter(help="What people call it")] = None,
    then: Annotated[str | None, Parameter(help="The target of the run that follows")] = None,
    wait: Annotated[bool, Parameter(help="Follow it to its end", negative="")] = False,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Create up to 1,000 runs at once, all of them or none."""
    from runstead.cli.shared.parsing import json_list  # noqa: PLC0415

    if (runs is None) == (target is None or inputs is None):
        refuse("say which runs: a target with --inputs, or --runs", USAGE)
    wanted = (
        json_list("--runs", runs) if runs is not None else _one_each(target or "", inputs or "", config_json)
    )
    after = None if then is None else {"target": then}
    with connected(reach, project=True) as client:
        made = client.create_batch(wanted, name=name, on_complete=after)
        project = client.project
    _show_new(made, project, reach, wait=wait, json=json)


def _one_each(target: str, inputs: str, config_json: str | None) -> list[dict[str, Any]]:
    from runstead.cli.shared.parsing import json_list, json_object  # noqa: PLC0415

    kind, _, name = target.partition(":")
    request: dict[str, Any] = {"target": target}
    if kind == "workflow":
        request["workflow_id"] = name
    if config_json is not None:
        request["config"] = json_object("--config-json", config_json)
    return [{"kind": kind, "request": request | {"input": one}} for one in json_list("--inputs", inputs)]
