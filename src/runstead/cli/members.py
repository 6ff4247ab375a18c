"""`runstead members …`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.render import Column, format_time
from runstead.cli.shared.results import print_list, print_result

if TYPE_CHECKING:
    from runstead.sdk.models.project import Member

UserId = Annotated[str, Parameter(help="The user's id: the claim sub of their JWTs")]

members = App(name="members", help="Members of a project and their roles.")


@members.command(name="list")
def list_members(*, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """List a project's members."""
    with connected(server, project=True) as client:
        found = list(client.members.iter())
    columns: list[Column[Member]] = [
        Column("USER", lambda one: one.user_id, keep_whole=True),
        Column("ROLE", lambda one: one.role),
        Column("SINCE", lambda one: format_time(one.created_at), drop_rank=1, keep_whole=True),
    ]
    print_list(found, columns, "members", json=json)


@members.command(name="add")
def add_member(
    user_id: UserId,
    /,
    *,
    role: Annotated[Literal["admin", "member", "viewer"], Parameter(help="The user's role")] = "member",
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Add a user to a project, or change a member's role."""
    with connected(server, project=True) as client:
        member = client.members.add(user_id, role)
    print_result(member, f"{member.user_id}  {member.role}", json=json)


@members.command(name="remove")
def remove_member(user_id: UserId, /, *, server: ServerOptions = NO_OPTIONS, json: AsJson = False) -> None:
    """Remove a user from a project, also one who is no member but has access by a claim of a token."""
    with connected(server, project=True) as client:
        client.members.remove(user_id)
    print_result({"removed": True, "user_id": user_id}, f"{user_id}  removed", json=json)
