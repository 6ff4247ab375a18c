"""`runstead push-services …`."""

from typing import TYPE_CHECKING

from cyclopts import App

from runstead.cli.shared.command import Client, Output, command, listed
from runstead.cli.shared.render import Column, Screen, age_column, format_age

if TYPE_CHECKING:
    from runstead.sdk.models.push_service import PushService

push_services = App(name="push-services", help="List the push services of a project.")


@command(push_services, "list", project=True)
def list_services(client: Client) -> Output:
    """List a project's push services, with the last call that each accepted, and the last error."""
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
        age_column("LAST HEARTBEAT", lambda one: one.last_heartbeat_at, drop_rank=3),
        age_column("LAST SUCCESS", lambda one: one.last_success_at, drop_rank=1),
        Column("LAST ERROR", last_error),
    ]
    return listed(found, columns, "push services")
