"""Sign-in with an OpenID provider: its settings, and the roles that groups give."""

from collections.abc import Iterable
from typing import Final, Literal, get_args

import msgspec

from runstead.core.identity.principal import Role

UserClaim = Literal["sub", "email"]
USER_CLAIMS: Final[tuple[str, ...]] = get_args(UserClaim)
ROLES: Final[tuple[str, ...]] = get_args(Role)


class GroupRole(msgspec.Struct, frozen=True):
    """Members of the provider's `group` have the role in a project, which is named by its slug or id."""

    group: str
    project: str
    role: Role


class OpenIdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How this server is registered at the provider. `client_secret` is None for a public client. `user_claim` is
    the claim whose value is the user's id here.
    """

    issuer: str
    client_id: str
    client_secret: str | None
    redirect_uri: str
    name: str
    scopes: str = "openid profile email"
    groups_claim: str = "groups"
    user_claim: UserClaim = "sub"
    roles: tuple[GroupRole, ...] = ()


class OpenIdUser(msgspec.Struct, frozen=True):
    """A user whom the provider identified. `groups`: those that a role is set for."""

    user_id: str
    name: str | None
    groups: tuple[str, ...]


def parse_roles(text: str) -> tuple[GroupRole, ...]:
    """Parse `<group>=<project>:<role>`, separated by commas. ValueError with the part that is wrong."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        group, _, target = part.rpartition("=")
        project, _, role = target.rpartition(":")
        if not (group and project and role in ROLES):
            raise ValueError(part)
        found.append(GroupRole(group.strip(), project.strip(), role))  # type: ignore[arg-type]
    return tuple(found)


def roles_of(roles: Iterable[GroupRole], groups: Iterable[str]) -> list[GroupRole]:
    """Return the roles that these groups give."""
    known = frozenset(groups)
    return [each for each in roles if each.group in known]
