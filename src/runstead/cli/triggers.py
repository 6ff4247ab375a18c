"""`runstead triggers …`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, listed, one_line, with_secret
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import NO_FLOW_CONTROL, Config, ConfigJson, FlowControl
from runstead.cli.shared.output import fail
from runstead.cli.shared.parsing import json_or_text, name_value_pairs, read_config, read_text
from runstead.cli.shared.render import Column, time_column

if TYPE_CHECKING:
    from runstead.sdk.models.webhook import CreatedTrigger, Trigger, TriggerEvent

OnEvent = Annotated[str | None, Parameter(name="--event", help="Events of this name start runs, too")]
Match = Annotated[
    list[str] | None,
    Parameter(name="--match", help="path=value that the event's data must have; may repeat"),
]
TriggerId = Annotated[str, Parameter(help="The trigger's id")]

triggers = App(name="triggers", help="URLs that start runs when they are called.")


@command(triggers, "list", project=True)
def list_triggers(client: Client) -> Output:
    """List a project's triggers, oldest first."""
    found = list(client.triggers.iter())
    columns: list[Column[Trigger]] = [
        Column("TRIGGER", lambda one: one.id, keep_whole=True),
        Column("STATUS", _status, status=True),
        Column("TARGET", lambda one: one.target),
        Column("NAME", lambda one: one.name, drop_rank=1),
        Column("EVENT", lambda one: "" if one.event is None else one.event.name, drop_rank=2),
        Column("SIGNED", lambda one: "yes" if one.signed else "no", drop_rank=3),
        time_column("CREATED", lambda one: one.created_at, drop_rank=4),
    ]
    return listed(found, columns, "triggers")


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


@command(triggers, "create", project=True)
def create_trigger(
    client: Client,
    target: Annotated[str, "task:…, workflow:…, eval:… or agent:…"],
    /,
    *,
    name: Annotated[str | None, "Name of the trigger; else the target"] = None,
    config: Config = None,
    config_json: ConfigJson = None,
    secret: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True, help="Accept only calls signed with it; better in @file or - for stdin"
        ),
    ] = None,
    conversation: Annotated[
        str | None, "For agents: the id of the conversation; else a new one for each run"
    ] = None,
    flow: FlowControl = NO_FLOW_CONTROL,
    event: OnEvent = None,
    match: Match = None,
) -> Output:
    """Create a URL that starts a run of a target. Its token is shown only once."""
    run_config = read_config(config or [], config_json)
    signing = None if secret is None else read_text(secret).strip()
    made = client.triggers.create(
        target,
        name=name,
        config=run_config,
        secret=signing,
        conversation_id=conversation,
        event=_event(event, match),
        **flow.members(),
    )
    return _new(made)


def _new(made: "CreatedTrigger") -> Output:
    return with_secret(made, made.trigger.id, made.token, "the token of the URL /triggers/TOKEN")


@command(triggers, "update", project=True)
def update_trigger(
    client: Client,
    trigger_id: TriggerId,
    /,
    *,
    name: Annotated[str | None, "Name of the trigger"] = None,
    enabled: Annotated[
        bool | None, Parameter(name="--enable", negative="--disable", help="Whether calls start runs")
    ] = None,
    event: OnEvent = None,
    match: Match = None,
) -> Output:
    """Rename a trigger; enable or disable it; choose the events that start its runs."""
    wanted = _event(event, match)
    if name is None and enabled is None and wanted is None:
        fail("name what to change: --name, --enable, --disable or --event", USAGE)
    one = client.triggers.update(trigger_id, name=name, enabled=enabled, event=wanted).trigger
    return one_line(one, f"{one.id}  {_status(one)}  {one.name}")


@command(triggers, "rotate", project=True)
def rotate_trigger(client: Client, trigger_id: TriggerId, /) -> Output:
    """Give a trigger a new token, shown only once. The old token stops working."""
    made = client.triggers.rotate(trigger_id)
    return _new(made)


@command(triggers, "delete", project=True)
def delete_trigger(client: Client, trigger_id: TriggerId, /) -> Output:
    """Delete a trigger. The runs that it started are kept."""
    client.triggers.delete(trigger_id)
    return one_line({"deleted": True, "id": trigger_id}, f"{trigger_id}  deleted")
