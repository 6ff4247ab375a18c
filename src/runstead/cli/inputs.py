"""`runstead inputs …`: input requests (forms), identified by the run that waits for them."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import AsJson, RunId
from runstead.cli.shared.output import fail
from runstead.cli.shared.parsing import json_object, name_value_pairs
from runstead.cli.shared.render import Column, Screen, age_column, details, format_time, table, value

if TYPE_CHECKING:
    from runstead.sdk.models.input_request import InputRequest
    from runstead.sdk.models.run import Run


inputs = App(name="inputs", help="Input requests (forms) that runs wait for.")


@inputs.command(name="list")
def list_inputs(
    *,
    conversation: Annotated[str | None, Parameter(help="List all forms of this conversation")] = None,
    status: Annotated[
        Literal["open", "submitted", "cancelled", "expired"] | None,
        Parameter(help="With --conversation: only forms with this status"),
    ] = None,
    limit: Annotated[int, Parameter(help="Maximum number of forms")] = 50,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """List the forms that a project's runs wait for, or those of a conversation, newest first."""
    if status is not None and conversation is None:
        fail("--status needs --conversation: without it, only open forms are listed", USAGE)
    with connected(server, project=conversation is None) as client:
        asked = (
            _open_requests(client)
            if conversation is None
            else client.input_requests.iter(conversation, status=status, limit=100)
        )
        found = list(islice(asked, max(limit, 0)))
    columns: list[Column[InputRequest]] = [
        Column("RUN", lambda one: one.run_id, keep_whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("TITLE", lambda one: one.title),
        Column("FIELDS", lambda one: ",".join(str(field.get("name")) for field in one.fields), drop_rank=2),
        age_column("CREATED", lambda one: one.created_at, drop_rank=1),
        age_column("EXPIRES", lambda one: one.expires_at, drop_rank=3),
        Column("FOR", lambda one: one.requested_responder_type, drop_rank=4),
    ]
    listed(found, columns, "forms").show(json=json)


def _open_requests(client: Client) -> "Iterator[InputRequest]":
    for run in client.runs.iter(status=["waiting"], limit=100, fields=["waiting_reason", "conversation_id"]):
        if run.waiting_reason == "input":
            found = _open_request(client, run)
            if found is not None:
                yield found


def _open_request(client: Client, run: "Run") -> "InputRequest | None":
    if run.conversation_id is None:
        return None
    asked = client.input_requests.iter(run.conversation_id, status="open", limit=100)
    return next((one for one in asked if one.run_id == run.run_id), None)


def _find(client: Client, run_id: str) -> "InputRequest":
    """The form that a run waits for."""
    run = client.runs.get(run_id)
    found = _open_request(client, run)
    if found is None:
        doing = f"waits for {run.waiting_reason}" if run.waiting_reason else f"is {run.status}"
        fail(f"the run waits for no form: it {doing}")
    return found


@command(inputs, "get")
def get_input(client: Client, run_id: RunId, /) -> Output:
    """Show the form that a run waits for."""
    one = _find(client, run_id)
    rows = [
        ("run", one.run_id),
        ("title", one.title),
        ("description", one.description),
        ("for", one.requested_responder_type),
        ("created", format_time(one.created_at)),
        ("expires", format_time(one.expires_at) or None),
        ("metadata", value(one.metadata)),
        ("secrets", _secrets(one)),
    ]
    columns: list[Column[dict[str, Any]]] = [
        Column("FIELD", lambda field: str(field["name"]), keep_whole=True),
        Column("TYPE", lambda field: str(field["type"])),
        Column("REQUIRED", lambda field: "yes" if field.get("required") else "no", drop_rank=3),
        Column("LABEL", lambda field: str(field["label"]), drop_rank=1),
        Column("CHOICES", _choices, drop_rank=2),
        Column("SECRET", lambda field: "yes" if field.get("secret") else "no", drop_rank=4),
    ]
    screen = Screen.of()
    return Output(one, f"{details(rows, screen)}\n\n{table(columns, one.fields, screen)}")


def _secrets(one: "InputRequest") -> str | None:
    """What becomes of the values of secret fields. None: the form has none."""
    if not any(field.get("secret") for field in one.fields):
        return None
    if one.keeps_secrets:
        return "stored encrypted until the run ends, for its worker"
    return "not stored: the server has no encryption key, so the run does not get them"


def _choices(field: dict[str, Any]) -> str:
    if field["type"] in {"checkbox", "confirm"}:
        return "true,false"
    return ",".join(str(option.get("value")) for option in field.get("options") or ())


@command(inputs, "answer")
def answer_input(
    client: Client,
    run_id: RunId,
    values: Annotated[
        list[str] | None, Parameter(help="field=value; may repeat", allow_leading_hyphen=True)
    ] = None,
    /,
    *,
    values_json: Annotated[
        str | None,
        Parameter(allow_leading_hyphen=True, help="The values as a JSON object, @file or - for stdin"),
    ] = None,
) -> Output:
    """Fill in the form that a run waits for. The run continues."""
    base = {} if values_json is None else json_object("--values-json", values_json)
    values_by_name = name_value_pairs("an answer", values or [])
    if not base and not values_by_name and values_json is None:
        fail("name the values: field=value, or --values-json", USAGE)
    one = _find(client, run_id)
    kinds = {field["name"]: field["type"] for field in one.fields}
    filled = base | {name: _read(name, text, kinds.get(name)) for name, text in values_by_name.items()}
    done = client.input_requests.respond(one.conversation_id, one.id, filled)
    return one_line(done, f"{done.run_id}  {done.status}")


def _read(name: str, text: str, kind: str | None) -> str | bool:
    """The value of a field: text, except for a checkbox or a confirmation."""
    if kind not in {"checkbox", "confirm"}:
        return text
    if text not in {"true", "false"}:
        fail(f"{name} is a {kind}: use {name}=true or {name}=false", USAGE)
    return text == "true"


@command(inputs, "cancel")
def cancel_input(client: Client, run_id: RunId, /) -> Output:
    """Cancel the form that a run waits for. The run continues and gets an error as the result."""
    one = _find(client, run_id)
    done = client.input_requests.cancel(one.conversation_id, one.id)
    return one_line(done, f"{done.run_id}  {done.status}")
