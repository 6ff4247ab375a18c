"""`runstead conversations …`."""

from typing import Annotated

from cyclopts import App, Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.parsing import parse_seconds
from runstead.cli.shared.results import print_result

conversations = App(name="conversations", help="Conversations of agents and users.")


@conversations.command(name="token")
def conversation_token(
    conversation_id: Annotated[str, Parameter(help="The conversation's id")],
    /,
    *,
    expires_in: Annotated[str, Parameter(help="At most 1d")] = "1h",
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Print a token that reads one conversation and its runs, and nothing else: for a browser."""
    seconds = parse_seconds("--expires-in", expires_in)
    with connected(server) as client:
        made = client.conversations.access_token(conversation_id, expires_in_seconds=seconds)
    print_result(made, made.token, json=json)
