"""`runstead runs signal` and `runstead runs signals`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson, JsonOrText, RunId
from runstead.cli.shared.parsing import json_or_text
from runstead.cli.shared.render import Column, Screen, format_age, value
from runstead.cli.shared.results import print_list, print_result

if TYPE_CHECKING:
    from runstead.sdk.models.run import Signal


def signal_run(
    run_id: RunId,
    name: Annotated[str, Parameter(help="The name that the run waits for, now or later")],
    payload: JsonOrText = None,
    /,
    *,
    once: Annotated[
        str | None, Parameter(name="--id", help="Send it once: a repeat with this id sends nothing")
    ] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Send a signal to a run, which takes it once when it waits for it."""
    value = json_or_text(payload)
    with connected(server) as client:
        sent = client.runs.signal(run_id, name, value, idempotency_key=once)
    taken = "the run has taken it" if sent.delivered else "the run takes it when it waits for it"
    print_result(sent, f"{'it was sent before' if sent.duplicate else 'sent'}: {taken}", json=json)


def list_signals(
    run_id: RunId,
    /,
    *,
    taken: Annotated[
        bool | None, Parameter(help="Only those that the run has taken, or not", negative="--not-taken")
    ] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """List the signals of a run, oldest first."""
    with connected(server) as client:
        found = list(client.runs.iter_signals(run_id, taken=taken))
    print_list(found, _columns(Screen.of()), "signals", json=json)


def _columns(screen: "Screen") -> "list[Column[Signal]]":
    return [
        Column("SIGNAL", lambda one: one.name, keep_whole=True),
        Column("PAYLOAD", lambda one: value(one.payload) or "null"),
        Column("SENT", lambda one: format_age(one.created_at, screen), drop_rank=2, keep_whole=True),
        Column("TAKEN BY EVENT", lambda one: "" if one.event_id is None else str(one.event_id), drop_rank=1),
    ]
