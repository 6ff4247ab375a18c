"""Projects, their members and their keys."""

from collections.abc import Callable, Sequence
from typing import Protocol

from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Role
from runstead.core.identity.project import ApiKey, Member, Project

Guard = Callable[[Sequence[Member], Sequence[ApiKey]], None]
"""Raises where a change to a project's members may not be: it gets its members and keys as they stand, under lock."""


Count = Callable[[int], None]
"""Raises where a project may have no more of something: it gets how many there are, under lock."""


class Identity(Protocol):
    """Projects, members, keys."""

    async def create_project(
        self,
        project: Project,
        member: Member | None,
        key: ApiKey | None,
        idempotency: IdempotencyRecord | None = None,
    ) -> Project:
        """Store it with its first member and key. A slug that exists is PROJECT_SLUG_TAKEN."""
        ...

    async def ensure_project(self, project: Project, member: Member | None, key: ApiKey | None) -> Project:
        """The same, where it need not exist: the project with this slug stays, a key or member that exists too."""
        ...

    async def project(self, ref: str) -> Project | None:
        """By id or slug."""
        ...

    async def projects(self, ids: Sequence[str] | None) -> list[Project]:
        """Oldest first; unknown ids are left out. None: every project."""
        ...

    async def is_empty(self) -> bool:
        """Whether the store holds no project."""
        ...

    async def create_key(self, key: ApiKey, idempotency: IdempotencyRecord | None = None) -> ApiKey: ...

    async def key_by_hash(self, digest: bytes) -> ApiKey | None: ...

    async def keys(self, project_id: str) -> list[ApiKey]:
        """Oldest first, revoked ones included."""
        ...

    async def revoke_key(self, project_id: str, key_id: str, now: int) -> ApiKey | None:
        """The key as it is after; the first revocation's time stays."""
        ...

    async def touch_keys(self, used: dict[str, int]) -> None:
        """Key id → when it was last used."""
        ...

    async def put_member(
        self, member: Member, guard: Guard, idempotency: IdempotencyRecord | None = None
    ) -> Member:
        """Add, or change the role, where the guard lets it."""
        ...

    async def remove_member(self, project_id: str, user_id: str, guard: Guard) -> bool:
        """Whether there was such a member; the guard may refuse."""
        ...

    async def members(self, project_id: str) -> list[Member]: ...

    async def roles(self, user_id: str) -> dict[str, Role]:
        """Project id → role, for every project of a user."""
        ...
