"""Projects, members and keys in memory."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Role, Scope
from runstead.core.identity.project import ApiKey, Member, Project
from runstead.ports.store import Count, Guard, Identity, MemberCounts
from tests.support.model.journal import Effect, Journal


class ModelIdentity(Identity):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._projects: dict[str, Project] = {}
        self._slugs: dict[str, str] = {}
        self._keys: dict[str, ApiKey] = {}
        self._hashes: dict[bytes, str] = {}
        self._members: dict[tuple[str, str], Member] = {}
        self._removed: set[tuple[str, str]] = set()

    async def create_project(
        self,
        project: Project,
        member: Member | None,
        key: ApiKey | None,
        idempotency: IdempotencyRecord | None = None,
        *,
        count: Count | None = None,
    ) -> Project:
        def plan(_: int) -> tuple[Project, Effect]:
            if count is not None:
                found = self._projects.values()
                count(sum(one.created_by == project.created_by and one.personal_of is None for one in found))
            if project.slug in self._slugs:
                raise Error("PROJECT_SLUG_TAKEN", f"A project with the slug {project.slug} exists")
            assert project.id not in self._projects, project.id
            return project, lambda: self._add(project, member, key)

        return self._journal.write(idempotency, plan)

    async def ensure_project(self, project: Project, member: Member | None, key: ApiKey | None) -> Project:
        def plan(_: int) -> tuple[Project, Effect]:
            known = self._projects.get(self._slugs.get(project.slug, ""), project)
            # What comes with it belongs to the project that is there, whatever id the caller had in mind.
            joins = None if member is None else replace(member, project_id=known.id)
            opens = None if key is None else replace(key, project_id=known.id)
            if joins is not None and (known.id, joins.user_id) in self._members:
                joins = None
            if opens is not None and opens.hash in self._hashes:
                stored = self._keys[self._hashes[opens.hash]]
                opens = replace(stored, scopes=stored.scopes | opens.scopes)
            return known, lambda: self._add(known, joins, opens)

        return self._journal.write(None, plan)

    def _add(self, project: Project, member: Member | None, key: ApiKey | None) -> None:
        self._projects[project.id] = project
        self._slugs[project.slug] = project.id
        if member is not None:
            self._members[member.project_id, member.user_id] = member
        if key is not None:
            self._add_key(key)

    def _add_key(self, key: ApiKey) -> None:
        self._keys[key.id] = key
        self._hashes[key.hash] = key.id

    async def project(self, ref: str) -> Project | None:
        return self._projects.get(ref) or self._projects.get(self._slugs.get(ref, ""))

    async def projects(self, ids: Sequence[str] | None) -> list[Project]:
        wanted = set(self._projects) if ids is None else set(ids)
        found = [project for project in self._projects.values() if project.id in wanted]
        return sorted(found, key=lambda project: project.created_at)

    async def is_empty(self) -> bool:
        return not self._projects

    async def create_key(
        self, key: ApiKey, idempotency: IdempotencyRecord | None = None, guard: Count | None = None
    ) -> ApiKey:
        def plan(_: int) -> tuple[ApiKey, Effect]:
            if guard is not None:
                keys = [k for k in self._keys.values() if k.project_id == key.project_id]
                guard(sum(k.revoked_at is None for k in keys))
            return key, lambda: self._add_key(key)

        return self._journal.write(idempotency, plan)

    async def key(self, key_id: str) -> ApiKey | None:
        return self._keys.get(key_id)

    async def key_by_hash(self, digest: bytes) -> ApiKey | None:
        key_id = self._hashes.get(digest)
        return None if key_id is None else self._keys[key_id]

    async def keys(self, project_id: str) -> list[ApiKey]:
        found = [key for key in self._keys.values() if key.project_id == project_id]
        return sorted(found, key=lambda key: key.created_at)

    async def change_key(
        self,
        project_id: str,
        key_id: str,
        decide: Callable[[ApiKey | None], ApiKey],
        idempotency: IdempotencyRecord | None = None,
    ) -> ApiKey:
        def plan(_: int) -> tuple[ApiKey, Effect]:
            key = self._keys.get(key_id)
            new = decide(key if key is not None and key.project_id == project_id else None)
            return new, lambda: self._keys.update({key_id: new})

        return self._journal.write(idempotency, plan)

    async def revoke_key(self, project_id: str, key_id: str, now: int) -> ApiKey | None:
        def plan(_: int) -> tuple[ApiKey | None, Effect]:
            key = self._keys.get(key_id)
            if key is None or key.project_id != project_id:
                return None, lambda: None
            revoked = key if key.revoked_at is not None else replace(key, revoked_at=now)
            return revoked, lambda: self._keys.update({key_id: revoked})

        return self._journal.write(None, plan)

    async def touch_keys(self, used: dict[str, int]) -> None:
        def effect() -> None:
            for key_id, at in used.items():
                key = self._keys.get(key_id)
                if key is not None:
                    self._keys[key_id] = replace(key, last_used_at=max(at, key.last_used_at or 0))

        self._journal.write(None, lambda _: (None, effect))

    async def put_member(
        self, member: Member, guard: Guard, idempotency: IdempotencyRecord | None = None
    ) -> Member:
        def plan(now: int) -> tuple[Member, Effect]:
            guard(self._counts(member.project_id, member.user_id, now))
            name = (member.project_id, member.user_id)
            known = self._members.get(name)
            stored = member if known is None else replace(known, role=member.role)
            return stored, lambda: (self._members.update({name: stored}), self._removed.discard(name))

        return self._journal.write(idempotency, plan)

    async def remove_member(self, project_id: str, user_id: str, guard: Guard) -> bool:
        name = (project_id, user_id)

        def plan(now: int) -> tuple[bool, Effect]:
            guard(self._counts(project_id, user_id, now))
            known = name in self._members or name not in self._removed
            return known, lambda: (self._members.pop(name, None), self._removed.add(name))

        return self._journal.write(None, plan)

    async def removed_from(self, user_id: str, ids: Sequence[str]) -> frozenset[str]:
        return frozenset(project_id for project_id in ids if (project_id, user_id) in self._removed)

    def _counts(self, project_id: str, user_id: str, now: int) -> MemberCounts:
        members = [member for member in self._members.values() if member.project_id == project_id]
        keys = [key for key in self._keys.values() if key.project_id == project_id and key.revoked_at is None]
        changing = self._members.get((project_id, user_id))
        others = [member.role == "admin" for member in members if member is not changing]
        others += [Scope.ADMIN in key.scopes and not (key.expires_at or now + 1) <= now for key in keys]
        return MemberCounts(
            len(members),
            None if changing is None else changing.role,
            other_admins=any(others),
            removed=sum(removed == project_id for removed, _ in self._removed),
        )

    async def members(self, project_id: str) -> list[Member]:
        found = [member for member in self._members.values() if member.project_id == project_id]
        return sorted(found, key=lambda member: member.created_at)

    async def roles(self, user_id: str) -> dict[str, Role]:
        return {m.project_id: m.role for m in self._members.values() if m.user_id == user_id}
