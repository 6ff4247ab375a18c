"""`runstead runs compensations`."""

from typing import TYPE_CHECKING

from runstead.cli.run_group import runs
from runstead.cli.shared.command import Client, Output, command, listed
from runstead.cli.shared.options import RunId
from runstead.cli.shared.render import Column, age_column

if TYPE_CHECKING:
    from runstead.sdk.models.run import Compensation


@command(runs, "compensations")
def list_compensations(client: Client, run_id: RunId, /) -> Output:
    """List the compensations of a run, in the order of their registration, with their runs once it has ended."""
    found = client.runs.compensations(run_id).data
    columns: list[Column[Compensation]] = [
        Column("NUMBER", lambda one: str(one.number), number=True),
        Column("TARGET", lambda one: one.target, keep_whole=True),
        Column("TITLE", lambda one: one.title or "", drop_rank=2),
        age_column("REGISTERED", lambda one: one.created_at, drop_rank=3),
        Column("RUN", lambda one: one.run_id or "", drop_rank=1),
    ]
    return listed(found, columns, "compensations")
