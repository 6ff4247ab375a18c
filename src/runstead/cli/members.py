"""`runstead members …`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.app import AsJson
from runstead.cli.shared.connection import UNSAID, Reach, connected
from runstead.cli.shared.output import say

if TYPE_CHECKING:
    from runstead.sdk import Member

UserId = Annotated[str, Parameter(help="The user, as JWTs name them")]

members = App(name="members", help="Who may do what in a project.")


@members.command(name="list")
def list_members(*, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """List a project's members."""
    from runstead.cli.shared.render import Column, when  # noqa: PLC0415
    from runstead.cli.shared.run_tables import print_list  # noqa: PLC0415

    with connected(reach, project=True) as client:
        found = client.list_members().data
    columns: list[Column[Member]] = [
        Column("USER", lambda one: one.user_id, whole=True),
        Column("ROLE", lambda one: one.role),
        Column("SINCE", lambda one: when(one.created_at), leaves=1, whole=True),
    ]
    print_list(found, columns, "members", json=json)


@members.command(name="add")
def add_member(
    user_id: UserId,
    /,
    *,
    role: Annotated[Literal["admin", "member", "viewer"], Parameter(help="What they may do")] = "member",
    reach: Reach = UNSAID,
    json: AsJson = False,
) -> None:
    """Add a user to a project, or change the role of one who is there."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    with connected(reach, project=True) as client:
        member = client.add_member(user_id, role)
    say(document(member) if json else f"{safe(member.user_id)}  {member.role}")


@members.command(name="remove")
def remove_member(user_id: UserId, /, *, reach: Reach = UNSAID, json: AsJson = False) -> None:
    """Take a user out of a project."""
    from runstead.cli.shared.render import document, safe  # noqa: PLC0415

    with connected(reach, project=True) as client:
        client.remove_member(user_id)
    say(document({"removed": True, "user_id": user_id}) if json else f"{safe(user_id)}  removed")
