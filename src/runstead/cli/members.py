"""`runstead members …`."""

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.render import Column, time_column

if TYPE_CHECKING:
    from runstead.sdk.models.project import Member

UserId = Annotated[str, Parameter(help="The user's id: the claim sub of their JWTs")]

members = App(name="members", help="Members of a project and their roles.")


@command(members, "list", project=True)
def list_members(client: Client) -> Output:
    """List a project's members."""
    found = list(client.members.iter())
    columns: list[Column[Member]] = [
        Column("USER", lambda one: one.user_id, keep_whole=True),
        Column("ROLE", lambda one: one.role),
        time_column("SINCE", lambda one: one.created_at, drop_rank=1),
    ]
    return listed(found, columns, "members")


@command(members, "add", project=True)
def add_member(
    client: Client,
    user_id: UserId,
    /,
    *,
    role: Annotated[Literal["admin", "member", "viewer"], "The user's role"] = "member",
) -> Output:
    """Add a user to a project, or change a member's role."""
    member = client.members.add(user_id, role)
    return one_line(member, f"{member.user_id}  {member.role}")


@command(members, "remove", project=True)
def remove_member(client: Client, user_id: UserId, /) -> Output:
    """Remove a user from a project, also one who is no member but has access by a claim of a token."""
    client.members.remove(user_id)
    return one_line({"removed": True, "user_id": user_id}, f"{user_id}  removed")
