"""Projects, their members and their keys."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Role
from runstead.core.identity.project import ApiKey, Member, Project, RemovedMember
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.methods import SqlNoun, command
from runstead.engines.sql.steps import (
    LockSpace,
    Steps,
    changed,
    execute,
    execute_many,
    first,
    lock,
    rewrite,
    select,
    select_rows,
    value,
    values,
)
from runstead.ports.store import Change, Count, Guard, MemberCounts


class _ProjectRole(NamedTuple):
    project_id: str
    role: Role


class SqlIdentity(SqlNoun):
    @command
    def create_project(
        self,
        _now: int,
        project: Project,
        member: Member | None,
        key: ApiKey | None,
        idempotency: Idempotency = None,
        *,
        count: Count | None = None,
    ) -> Steps[Project]:
        if count is not None:
            yield from lock(LockSpace.PROJECTS, [project.created_by or ""])
            count((yield from value("count_projects", created_by=project.created_by)))
        if (yield from first("project_by_slug", Project, slug=project.slug)) is not None:
            raise Error("PROJECT_SLUG_TAKEN", f"A project with the slug {project.slug} exists")
        yield from execute("add_project", project)
        if member is not None:
            yield from select("put_member", Member, **fields(member))
        if key is not None:
            yield from execute("add_key", key)
        yield from changed(None, project)
        return project

    @command
    def ensure_project(
        self, _now: int, project: Project, member: Member | None, key: ApiKey | None
    ) -> Steps[Project]:
        stored = yield from first("project_by_slug", Project, slug=project.slug)
        if stored is None:
            yield from execute("add_project", project)
            stored = project
        if member is not None:
            yield from execute("keep_member", replace(member, project_id=stored.id))
        if key is not None:
            known = yield from first("key_by_hash", ApiKey, hash=key.hash)
            if known is None:
                yield from execute("add_key", replace(key, project_id=stored.id))
            elif not key.scopes <= known.scopes:
                yield from rewrite("api_keys", known, replace(known, scopes=known.scopes | key.scopes))
        return stored

    async def project(self, ref: str) -> Project | None:
        return await self._database.read(first, "project", Project, ref=ref)

    async def projects(self, ids: Sequence[str] | None) -> list[Project]:
        if ids is None:
            return await self._database.read(select, "projects", Project)
        return await self._database.read(select, "projects_by_id", Project, ids=list(ids))

    @command
    def change_project(
        self, now: int, project_id: str, decide: Change[Project], idempotency: Idempotency = None
    ) -> Steps[Project | None]:
        yield from values("lock_project", id=project_id)
        stored = yield from first("project", Project, ref=project_id)
        if stored is None or stored.id != project_id:
            return None
        new = decide(stored, now)
        if new != stored:
            yield from execute("change_project", new)
        yield from changed(stored, new)
        return new

    async def fenced(self, ids: Sequence[str]) -> frozenset[str]:
        if not ids:
            return frozenset()
        return frozenset(await self._database.read(values, "fenced_projects", ids=list(ids)))

    async def is_empty(self) -> bool:
        return await self._database.read(value, "any_project") is None

    @command
    def create_key(
        self, _now: int, key: ApiKey, idempotency: Idempotency = None, guard: Count | None = None
    ) -> Steps[ApiKey]:
        if guard is not None:
            yield from values("lock_project", id=key.project_id)
            guard((yield from value("count_keys", project_id=key.project_id)))
        yield from execute("add_key", key)
        yield from changed(None, key)
        return key

    async def key_by_hash(self, digest: bytes) -> ApiKey | None:
        return await self._database.read(first, "key_by_hash", ApiKey, hash=digest)

    async def key(self, key_id: str) -> ApiKey | None:
        return await self._database.read(first, "key", ApiKey, id=key_id)

    async def keys(self, project_id: str) -> list[ApiKey]:
        return await self._database.read(select, "keys", ApiKey, project_id=project_id)

    @command
    def change_key(
        self,
        _now: int,
        project_id: str,
        key_id: str,
        decide: Callable[[ApiKey | None], ApiKey],
        idempotency: Idempotency = None,
    ) -> Steps[ApiKey]:
        yield from values("lock_project", id=project_id)
        old = yield from first("key_of_project", ApiKey, project_id=project_id, id=key_id)
        new = decide(old)
        assert old is not None, key_id
        yield from rewrite("api_keys", old, new)
        yield from changed(old, new)
        return new

    @command
    def revoke_key(self, _now: int, project_id: str, key_id: str, now: int) -> Steps[ApiKey | None]:
        yield from values("lock_project", id=project_id)
        old = yield from first("key_of_project", ApiKey, project_id=project_id, id=key_id)
        revoked = yield from first("revoke_key", ApiKey, now=now, project_id=project_id, id=key_id)
        yield from changed(old, revoked)
        yield from execute("drop_revoked_keys", project_id=project_id, kept=limits.revoked_keys_kept_max)
        return revoked

    async def touch_keys(self, used: dict[str, int]) -> None:
        # In one order, so that two replicas do not wait for each other.
        rows = [{"id": key_id, "used_at": used_at} for key_id, used_at in sorted(used.items())]
        await self._database.write(lambda _now: execute_many("touch_key", rows))

    @command
    def put_member(
        self, now: int, member: Member, guard: Guard, idempotency: Idempotency = None
    ) -> Steps[Member]:
        guard((yield from _counts(member.project_id, member.user_id, now)))
        old = yield from first("member", Member, project_id=member.project_id, user_id=member.user_id)
        (stored,) = yield from select("put_member", Member, **fields(member))
        yield from execute("drop_removed_member", project_id=member.project_id, user_id=member.user_id)
        yield from changed(old, stored)
        return stored

    @command
    def remove_member(self, now: int, project_id: str, user_id: str, guard: Guard) -> Steps[bool]:
        guard((yield from _counts(project_id, user_id, now)))
        old = yield from first("member", Member, project_id=project_id, user_id=user_id)
        removed = RemovedMember(project_id, user_id, now)
        if not (yield from execute("add_removed_member", removed)) and old is None:
            return False
        yield from execute("remove_member", project_id=project_id, user_id=user_id)
        yield from changed(old, removed)
        return True

    async def removed_from(self, user_id: str, ids: Sequence[str]) -> frozenset[str]:
        if not ids:
            return frozenset()
        return frozenset(await self._database.read(values, "removed_from", user_id=user_id, ids=list(ids)))

    async def members(self, project_id: str) -> list[Member]:
        return await self._database.read(select, "members", Member, project_id=project_id)

    async def roles(self, user_id: str) -> dict[str, Role]:
        rows = await self._database.read(select, "roles", _ProjectRole, user_id=user_id)
        return {row.project_id: row.role for row in rows}


def _counts(project_id: str, user_id: str, now: int) -> Steps[MemberCounts]:
    """Those of a project. Its row is locked first, so that two changes of members see each other."""
    yield from values("lock_project", id=project_id)
    [found] = yield from select_rows("member_counts", project_id=project_id, user_id=user_id, now=now)
    return MemberCounts(
        found["members"], found["role"], other_admins=bool(found["other_admins"]), removed=found["removed"]
    )
