"""`runstead runs signal` and `runstead runs signals`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from runstead.cli.run_group import runs
from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.options import JsonOrText, RunId
from runstead.cli.shared.parsing import json_or_text
from runstead.cli.shared.render import Column, age_column, value

if TYPE_CHECKING:
    from runstead.sdk.models.run import Signal


@command(runs, "signal")
def signal_run(
    client: Client,
    run_id: RunId,
    name: Annotated[str, "The name that the run waits for, now or later"],
    payload: JsonOrText = None,
    /,
    *,
    once: Annotated[
        str | None, Parameter(name="--id", help="Send it once: a repeat with this id sends nothing")
    ] = None,
) -> Output:
    """Send a signal to a run, which takes it once when it waits for it."""
    value = json_or_text(payload)
    sent = client.runs.signal(run_id, name, value, idempotency_key=once)
    taken = "the run has taken it" if sent.delivered else "the run takes it when it waits for it"
    return one_line(sent, f"{'it was sent before' if sent.duplicate else 'sent'}: {taken}")


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
