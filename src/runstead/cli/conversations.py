"""`runstead conversations …`."""

from typing import Annotated

from cyclopts import App

from runstead.cli.shared.command import Client, Output, command, one_line
from runstead.cli.shared.parsing import parse_seconds

conversations = App(name="conversations", help="Conversations of agents and users.")


@command(conversations, "token")
def conversation_token(
    client: Client,
    conversation_id: Annotated[str, "The conversation's id"],
    /,
    *,
    expires_in: Annotated[str, "At most 1d"] = "1h",
) -> Output:
    """Print a token that reads one conversation and its runs, and nothing else: for a browser."""
    seconds = parse_seconds("--expires-in", expires_in)
    made = client.conversations.access_token(conversation_id, expires_in_seconds=seconds)
    return one_line(made, made.token)
