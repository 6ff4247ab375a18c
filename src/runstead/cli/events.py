"""`runstead events …`: the event bus of a project."""

from typing import Annotated

from cyclopts import App

from runstead.cli.shared.command import Client, Output, command, one_line
from runstead.cli.shared.options import JsonOrText
from runstead.cli.shared.parsing import json_or_text, parse_time

events = App(name="events", help="Events of a project's bus, which resume and start runs.")


@command(events, "publish", project=True)
def publish_event(
    client: Client,
    name: Annotated[str, "The name that runs wait for and triggers have"],
    data: JsonOrText = None,
    /,
    *,
    id: Annotated[  # noqa: A002 - the member's name
        str | None, "Publish it once: a repeat with this id within a day publishes nothing"
    ] = None,
    occurred_at: Annotated[str | None, "When it happened: a time, or 10m for 10 minutes ago"] = None,
) -> Output:
    """Publish an event to the runs that wait for it, and to triggers that start runs."""
    value = json_or_text(data)
    happened = parse_time("--occurred-at", occurred_at)
    done = client.events.publish(name, value, id=id, occurred_at=happened)
    more = ", others follow" if done.pending else ""
    before = "published before: " if done.duplicate else ""
    line = f"{done.event_id}  {before}resumed {done.resumed}, started {done.started}{more}"
    return one_line(done, line)
