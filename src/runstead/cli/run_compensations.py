"""`runstead runs compensations`."""

from typing import TYPE_CHECKING

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson, RunId
from runstead.cli.shared.render import Column, Screen, format_age
from runstead.cli.shared.results import print_list

if TYPE_CHECKING:
    from runstead.sdk.models.run import Compensation


def list_compensations(
    run_id: RunId,
    /,
    *,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """List the compensations of a run, in the order of their registration, with their runs once it has ended."""
    with connected(server) as client:
        found = client.runs.compensations(run_id).data
    print_list(found, _columns(Screen.of()), "compensations", json=json)


def _columns(screen: "Screen") -> "list[Column[Compensation]]":
    return [
        Column("NUMBER", lambda one: str(one.number), number=True),
        Column("TARGET", lambda one: one.target, keep_whole=True),
        Column("TITLE", lambda one: one.title or "", drop_rank=2),
        Column("REGISTERED", lambda one: format_age(one.created_at, screen), drop_rank=3, keep_whole=True),
        Column("RUN", lambda one: one.run_id or "", drop_rank=1),
    ]
