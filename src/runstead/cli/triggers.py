"""`runstead triggers …`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import NO_FLOW_CONTROL, AsJson, Config, ConfigJson, FlowControl
from runstead.cli.shared.output import fail
from runstead.cli.shared.parsing import (
    json_or_text,
    name_value_pairs,
    read_config,
    read_text,
)
from runstead.cli.shared.render import Column, format_time
from runstead.cli.shared.results import print_list, print_result, print_secret

if TYPE_CHECKING:
    from runstead.sdk.models.webhook import CreatedTrigger, Trigger, TriggerEvent

OnEvent = Annotated[str | None, Parameter(name="--event", help="Events of this name start runs, too")]
Match = Annotated[
    list[str] | None,
    Parameter(name="--match", help="path=value that the event's data must have; may repeat", negative=""),
]
TriggerId = Annotated[str, Parameter(help="The trigger's id")]

triggers = App(name="triggers", help="URLs that start runs when they are called.")


@triggers.command(name="list")
def list_triggers(*, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """List a project's triggers, oldest first."""
    with connected(server, project=True) as client:
        found = list(client.triggers.iter())
    columns: list[Column[Trigger]] = [
        Column("TRIGGER", lambda one: one.id, keep_whole=True),
        Column("STATUS", _status, status=True),
        Column("TARGET", lambda one: one.target),
        Column("NAME", lambda one: one.name, drop_rank=1),
        Column("EVENT", lambda one: "" if one.event is None else one.event.name, drop_rank=2),
        Column("SIGNED", lambda one: "yes" if one.signed else "no", drop_rank=3),
        Column("CREATED", lambda one: format_time(one.created_at), drop_rank=4, keep_whole=True),
    ]
    print_list(found, columns, "triggers", json=json)


def _event(name: str | None, match: list[str] | None) -> "TriggerEvent | None":
    from runstead.sdk.models.webhook import TriggerEvent  # noqa: PLC0415

    if name is None:
        if match:
            fail("--match needs --event: the name of the events", USAGE)
        return None
    pairs = name_value_pairs("--match", match or [])
    return TriggerEvent(name=name, match={path: json_or_text(value) for path, value in pairs.items()} or None)


def _status(one: "Trigger") -> str:
    return "active" if one.enabled else "disabled"


@triggers.command(name="create")
def create_trigger(
    target: Annotated[str, Parameter(help="task:…, workflow:…, eval:… or agent:…")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="Name of the trigger; else the target")] = None,
    config: Config = None,
    config_json: ConfigJson = None,
    secret: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True, help="Accept only calls signed with it; better in @file or - for stdin"
        ),
    ] = None,
    conversation: Annotated[
        str | None, Parameter(help="For agents: the id of the conversation; else a new one for each run")
    ] = None,
    flow: FlowControl = NO_FLOW_CONTROL,
    event: OnEvent = None,
    match: Match = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Create a URL that starts a run of a target. Its token is shown only once."""
    run_config = read_config(config or [], config_json)
    signing = None if secret is None else read_text(secret).strip()
    with connected(server, project=True) as client:
        made = client.triggers.create(
            target,
            name=name,
            config=run_config,
            secret=signing,
            conversation_id=conversation,
            event=_event(event, match),
            **flow.members(),
        )
    _show_new(made, json=json)


def _show_new(made: "CreatedTrigger", *, json: bool) -> None:
    print_secret(made, made.trigger.id, made.token, "the token of the URL /triggers/TOKEN", json=json)


@triggers.command(name="update")
def update_trigger(
    trigger_id: TriggerId,
    /,
    *,
    name: Annotated[str | None, Parameter(help="Name of the trigger")] = None,
    enabled: Annotated[
        bool | None,
        Parameter(name="--enable", negative="--disable", help="Whether calls start runs"),
    ] = None,
    event: OnEvent = None,
    match: Match = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Rename a trigger; enable or disable it; choose the events that start its runs."""
    wanted = _event(event, match)
    if name is None and enabled is None and wanted is None:
        fail("name what to change: --name, --enable, --disable or --event", USAGE)
    with connected(server, project=True) as client:
        one = client.triggers.update(trigger_id, name=name, enabled=enabled, event=wanted).trigger
    print_result(one, f"{one.id}  {_status(one)}  {one.name}", json=json)


@triggers.command(name="rotate")
def rotate_trigger(
    trigger_id: TriggerId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Give a trigger a new token, shown only once. The old token stops working."""
    with connected(server, project=True) as client:
        made = client.triggers.rotate(trigger_id)
    _show_new(made, json=json)


@triggers.command(name="delete")
def delete_trigger(
    trigger_id: TriggerId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False
) -> None:
    """Delete a trigger. The runs that it started are kept."""
    with connected(server, project=True) as client:
        client.triggers.delete(trigger_id)
    print_result({"deleted": True, "id": trigger_id}, f"{trigger_id}  deleted", json=json)
