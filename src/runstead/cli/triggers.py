"""`runstead triggers …`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import refuse, say, tell

if TYPE_CHECKING:
    from runstead.sdk import CreatedTrigger, Trigger

TriggerId = Annotated[str, Parameter(help="The trigger's id")]
USAGE = 2

triggers = App(name="triggers", help="Addresses that start runs when somebody calls them.")


@triggers.command(name="list")
def list_triggers(*, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """List a project's triggers, oldest first."""
    from runstead.cli.shared.render import Column, when  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    with connected(reach, project=True) as client:
        found = client.list_triggers().data
    columns: list[Column[Trigger]] = [
        Column("TRIGGER", lambda one: one.id, whole=True),
        Column("STATUS", _status, status=True),
        Column("TARGET", lambda one: one.target),
        Column("NAME", lambda one: one.name, leaves=1),
        Column("SIGNED", lambda one: "yes" if one.signed else "no", leaves=2),
        Column("CREATED", lambda one: when(one.created_at), leaves=3, whole=True),
    ]
    print_list(found, columns, "triggers", json=json)


def _status(one: "Trigger") -> str:
    return "active" if one.enabled else "disabled"


@triggers.command(name="create")
def create_trigger(
    target: Annotated[str, Parameter(help="task:…, workflow:…, eval:… or agent:…")],
    /,
    *,
    name: Annotated[str | None, Parameter(help="What people call it; else the target")] = None,
    config: Annotated[
        list[str] | None, Parameter(help="name=value, the value JSON or text; may repeat", negative="")
    ] = None,
    config_json: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="A JSON object, @file or - for stdin")
    ] = None,
    secret: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="Take signed calls alone; better in @file or - for stdin"),
    ] = None,
    conversation: Annotated[
        str | None, Parameter(help="Of agents: where they speak; else each run in a new one")
    ] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Make an address that starts a run of a target. Its token is shown once."""
    from runstead.cli.shared.parsing import config as read_config, contents  # noqa: PLC0415

    given = read_config(config or [], config_json)
    signing = None if secret is None else contents(secret).strip()
    with connected(reach, project=True) as client:
        made = client.create_trigger(
            target, name=name, config=given, secret=signing, conversation_id=conversation
        )
    _show_new(made, json=json)


def _show_new(made: "CreatedTrigger", *, json: bool) -> None:
    from runstead.cli.shared.render import document  # noqa: PLC0415

    if json:
        say(document(made))
        return
    say(made.trigger.id)
    if made.token is not None:
        say(made.token)
        tell("runstead: the second line is its token, to be called at /triggers/TOKEN; it is shown only now")


@triggers.command(name="update")
def update_trigger(
    trigger_id: TriggerId,
    /,
    *,
    name: Annotated[str | None, Parameter(help="What people call it")] = None,
    enabled: Annotated[
        bool | None,
        Parameter(name="--enable", negative="--disable", help="Whether calls start runs"),
    ] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Rename a trigger; enable or disable it."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    if name is None and enabled is None:
        refuse("say what to change: --name, --enable or --disable", USAGE)
    with connected(reach, project=True) as client:
        one = client.update_trigger(trigger_id, name=name, enabled=enabled).trigger
    say(document(one) if json else f"{safe(one.id)}  {_status(one)}  {safe(one.name)}")


@triggers.command(name="rotate")
def rotate_trigger(trigger_id: TriggerId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Give a trigger another token, shown once: the old one is good no more."""
    with connected(reach, project=True) as client:
        made = client.rotate_trigger(trigger_id)
    _show_new(made, json=json)


@triggers.command(name="delete")
def delete_trigger(trigger_id: TriggerId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Delete a trigger. The runs that it started stay."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    with connected(reach, project=True) as client:
        client.delete_trigger(trigger_id)
    say(document({"deleted": True, "id": trigger_id}) if json else f"{safe(trigger_id)}  deleted")
