"""`runstead inputs …`: forms that runs wait for. A run waits for one at a time, so its id names the form too."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import refuse, say

if TYPE_CHECKING:
    from runstead.sdk import Client, InputRequest

RunId = Annotated[str, Parameter(help="The run that waits for it")]
USAGE = 2

inputs = App(name="inputs", help="Forms that runs wait for.")


@inputs.command(name="list")
def list_inputs(
    *,
    conversation: Annotated[str | None, Parameter(help="All that this conversation has had")] = None,
    status: Annotated[
        Literal["open", "submitted", "cancelled", "expired"] | None, Parameter(help="Of those, only these")
    ] = None,
    limit: Annotated[int, Parameter(help="How many at most")] = 50,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """List the forms that a project's runs wait for, or those of a conversation, newest first."""
    from runstead.cli.shared.render import Column, Screen, age  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    if status is not None and conversation is None:
        refuse("--status is for the forms of a --conversation: all others are open", USAGE)
    with connected(reach, project=conversation is None) as client:
        asked = _awaited(client) if conversation is None else _of(client, conversation, status)
        found = list(islice(asked, max(limit, 0)))
    screen = Screen.of()
    columns: list[Column[InputRequest]] = [
        Column("RUN", lambda one: one.run_id, whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("TITLE", lambda one: one.title),
        Column("FIELDS", lambda one: ",".join(str(field.get("name")) for field in one.fields), leaves=2),
        Column("CREATED", lambda one: age(one.created_at, screen), leaves=1, whole=True),
        Column("EXPIRES", lambda one: age(one.expires_at, screen), leaves=3, whole=True),
        Column("FOR", lambda one: one.requested_responder_type, leaves=4),
    ]
    print_list(found, columns, "forms", json=json)


def _awaited(client: "Client") -> "Iterator[InputRequest]":
    for run in client.iter_runs(status=["waiting"], limit=100):
        if run.waiting_reason == "input" and run.conversation_id is not None:
            asked = _of(client, run.conversation_id, "open")
            yield from islice((one for one in asked if one.run_id == run.run_id), 1)


def _of(client: "Client", conversation: str, status: Any) -> "Iterator[InputRequest]":
    cursor = None
    while True:
        page = client.list_input_requests(conversation, status=status, cursor=cursor, limit=100)
        yield from page.data
        cursor = page.page_info.next
        if cursor is None:
            return


def _find(client: "Client", run_id: str) -> "InputRequest":
    """The form that a run waits for."""
    run = client.get_run(run_id)
    asked = () if run.conversation_id is None else _of(client, run.conversation_id, "open")
    found = next((one for one in asked if one.run_id == run.run_id), None)
    if found is None:
        doing = f"waits for {run.waiting_reason}" if run.waiting_reason else f"is {run.status}"
        refuse(f"the run waits for no form: it {doing}")
    return found


@inputs.command(name="get")
def get_input(run_id: RunId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Show the form that a run waits for."""
    from runstead.cli.shared.render import (  # noqa: PLC0415
        Column,
        Screen,
        document,
        members,
        table,
        value,
        when,
    )

    with connected(reach) as client:
        one = _find(client, run_id)
    if json:
        say(document(one))
        return
    told = [
        ("run", one.run_id),
        ("title", one.title),
        ("description", one.description),
        ("for", one.requested_responder_type),
        ("created", when(one.created_at)),
        ("expires", when(one.expires_at) or None),
        ("metadata", value(one.metadata)),
    ]
    columns: list[Column[dict[str, Any]]] = [
        Column("FIELD", lambda field: str(field["name"]), whole=True),
        Column("TYPE", lambda field: str(field["type"])),
        Column("REQUIRED", lambda field: "yes" if field.get("required") else "no", leaves=3),
        Column("LABEL", lambda field: str(field["label"]), leaves=1),
        Column("CHOICES", _choices, leaves=2),
        Column("SECRET", lambda field: "yes" if field.get("secret") else "no", leaves=4),
    ]
    screen = Screen.of()
    say(members(told, screen))
    say("")
    say(table(columns, one.fields, screen))


def _choices(field: dict[str, Any]) -> str:
    if field["type"] in {"checkbox", "confirm"}:
        return "true,false"
    return ",".join(str(option.get("value")) for option in field.get("options") or ())


@inputs.command(name="answer")
def answer_input(
    run_id: RunId,
    values: Annotated[
        list[str] | None, Parameter(help="field=value; may repeat", allow_leading_hyphen=True)
    ] = None,
    /,
    *,
    values_json: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="A JSON object of them, @file or - for stdin"),
    ] = None,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Fill in the form that a run waits for: the run goes on."""
    from runstead.cli.shared.parsing import json_object, pairs  # noqa: PLC0415
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    base = {} if values_json is None else json_object("--values-json", values_json)
    given = pairs("an answer", values or [])
    if not base and not given and values_json is None:
        refuse("say what to fill in: field=value, or --values-json", USAGE)
    with connected(reach) as client:
        one = _find(client, run_id)
        kinds = {field["name"]: field["type"] for field in one.fields}
        filled = base | {name: _read(name, text, kinds.get(name)) for name, text in given.items()}
        done = client.respond_to_input(one.conversation_id, one.id, filled)
    say(document(done) if json else f"{safe(done.run_id)}  {done.status}")


def _read(name: str, text: str, kind: str | None) -> str | bool:
    """What is typed is text, as it is in any form; only a box is ticked or not."""
    if kind not in {"checkbox", "confirm"}:
        return text
    if text not in {"true", "false"}:
        refuse(f"{name} is a {kind}: say {name}=true or {name}=false", USAGE)
    return text == "true"


@inputs.command(name="cancel")
def cancel_input(run_id: RunId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Take back the form that a run waits for: the run goes on with an error for a result."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    with connected(reach) as client:
        one = _find(client, run_id)
        done = client.cancel_input_request(one.conversation_id, one.id)
    say(document(done) if json else f"{safe(done.run_id)}  {done.status}")
