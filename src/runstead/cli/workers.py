"""`runstead workers …`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected

if TYPE_CHECKING:
    from runstead.sdk.models.lease import RegisteredWorker

workers = App(name="workers", help="Who works on runs.")


@workers.command(name="list")
def list_workers(
    *,
    status: Annotated[Literal["active", "offline"] | None, Parameter(help="Only these")] = None,
    limit: Annotated[int, Parameter(help="How many at most; 0: all")] = 100,
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """List a project's workers. One that was not heard of for two minutes is offline."""
    from runstead.cli.shared.render import Column, Screen, age  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    found: list[RegisteredWorker] = []
    cursor: str | None = None
    with connected(reach, project=True) as client:
        while True:
            page = client.list_workers(status=status, cursor=cursor, limit=min(limit, 100) or 100)
            found += page.data
            cursor = page.page_info.next
            if cursor is None or (limit and len(found) >= limit):
                break
    screen = Screen.of()
    columns: list[Column[RegisteredWorker]] = [
        Column("WORKER", lambda one: one.id, whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("KEY", lambda one: one.worker_key),
        Column("HEARD OF", lambda one: age(one.last_heartbeat_at, screen), leaves=1, whole=True),
        Column("KIND", lambda one: one.implementation_kind, leaves=2),
        Column("NAME", lambda one: one.display_name or "", leaves=3),
    ]
    print_list(found[: limit or None], columns, "workers", json=json)
