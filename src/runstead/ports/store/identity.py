"""Projects, their members and their keys."""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Role
from runstead.core.identity.project import ApiKey, Member, Project
from runstead.ports.store.project_records import Change, Count


class MemberCounts(msgspec.Struct, frozen=True):
    """What decides whether a change of a project's members is allowed.

    `members`: how many the project has. `role`: of the user that changes, None if it is no member. `other_admins`:
    whether another member, or a valid key of the project, is an admin. `removed`: how many users are removed.
    """

    members: int
    role: Role | None
    other_admins: bool
    removed: int = 0


Guard = Callable[[MemberCounts], None]
"""Raises if a change of a project's members is not allowed. It gets the current counts under lock."""


class Identity(Protocol):
    """Projects, members and API keys."""

    async def create_project(
        self,
        project: Project,
        member: Member | None,
        key: ApiKey | None,
        idempotency: Idempotency = None,
        *,
        count: Count | None = None,
    ) -> Project:
        """Store a project with its first member and key. PROJECT_SLUG_TAKEN if the slug exists.

        `count` gets the number of projects that its creator has created, personal ones not counted.
        """

    async def ensure_project(self, project: Project, member: Member | None, key: ApiKey | None) -> Project:
        """Like `create_project`, but an existing project or member stays unchanged, and an existing key gets
        only the scopes that it lacks.
        """

    async def project(self, ref: str) -> Project | None:
        """Return the project with this id or slug."""

    async def projects(self, ids: Sequence[str] | None) -> list[Project]:
        """Return projects, oldest first. Unknown ids are ignored; None returns every project."""

    async def change_project(
        self, project_id: str, decide: Change[Project], idempotency: Idempotency = None
    ) -> Project | None:
        """Store what `decide` returns for the locked project and the time. None if it does not exist."""

    async def fenced(self, ids: Sequence[str]) -> frozenset[str]:
        """Return the projects among these that have `require_attempt`."""

    async def is_empty(self) -> bool:
        """Whether the store holds no project."""

    async def create_key(
        self, key: ApiKey, idempotency: Idempotency = None, guard: Count | None = None
    ) -> ApiKey:
        """Store a key. The guard may refuse: it gets the number of the project's keys that are not revoked."""

    async def key_by_hash(self, digest: bytes) -> ApiKey | None: ...

    async def key(self, key_id: str) -> ApiKey | None: ...

    async def keys(self, project_id: str) -> list[ApiKey]:
        """Return the project's keys, oldest first, including revoked keys."""

    async def change_key(
        self,
        project_id: str,
        key_id: str,
        decide: Callable[[ApiKey | None], ApiKey],
        idempotency: Idempotency = None,
    ) -> ApiKey:
        """Store what `decide` returns for the project's key. It gets None, and raises, if the key does not exist."""

    async def revoke_key(self, project_id: str, key_id: str, now: int) -> ApiKey | None:
        """Revoke the key and return it. The time of the first revocation stays.

        Of the revoked keys the newest `limits.revoked_keys_kept_max` are kept.
        """

    async def touch_keys(self, used: dict[str, int]) -> None:
        """Store the last use of keys. `used`: key id → time in ms."""

    async def put_member(self, member: Member, guard: Guard, idempotency: Idempotency = None) -> Member:
        """Add the member, or change its role. The guard may refuse."""

    async def remove_member(self, project_id: str, user_id: str, guard: Guard) -> bool:
        """Remove the user, a member or not, until `put_member`. False if the user was removed already.

        The guard may refuse.
        """

    async def removed_from(self, user_id: str, ids: Sequence[str]) -> frozenset[str]:
        """Return the projects among these from which the user was removed."""

    async def members(self, project_id: str) -> list[Member]: ...

    async def roles(self, user_id: str) -> dict[str, Role]:
        """Return project id → role for every project of the user."""
