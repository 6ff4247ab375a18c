"""`runstead push-services …`."""

from typing import TYPE_CHECKING

from cyclopts import App

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.render import Column, Screen, format_age
from runstead.cli.shared.results import print_list

if TYPE_CHECKING:
    from runstead.sdk.models.push_service import PushService

push_services = App(name="push-services", help="List the push services of a project.")


@push_services.command(name="list")
def list_services(*, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """List a project's push services, with the last call that each accepted, and the last error."""
    with connected(server, project=True) as client:
        found = list(client.push_services.iter())
    screen = Screen.of()

    def last_error(one: "PushService") -> str:
        if one.last_error_at is None:
            return ""
        return f"{format_age(one.last_error_at, screen)}: {one.last_error}"

    columns: list[Column[PushService]] = [
        Column("SERVICE", lambda one: one.id, keep_whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("NAME", lambda one: one.service_name, drop_rank=2),
        Column(
            "LAST HEARTBEAT",
            lambda one: format_age(one.last_heartbeat_at, screen),
            drop_rank=3,
            keep_whole=True,
        ),
        Column(
            "LAST SUCCESS",
            lambda one: format_age(one.last_success_at, screen),
            drop_rank=1,
            keep_whole=True,
        ),
        Column("LAST ERROR", last_error),
    ]
    print_list(found, columns, "push services", json=json)
