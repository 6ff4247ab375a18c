"""Projects, members and keys in PostgreSQL."""

from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Role
from runstead.core.identity.project import ApiKey, Member, Project
from runstead.engines.postgres.commit.jobs import Writer
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.idempotency import idempotent
from runstead.engines.postgres.readers import Readers
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.columns import from_key, to_key
from runstead.ports.store import Guard


async def _opened_by(connection: Connection, project_id: str) -> tuple[list[Member], list[ApiKey]]:
    """Who opens a project. Its row is locked first, so that two changes of members see each other."""
    await connection.execute(Q["lock_project"], project_id)
    members = [Member(*row) for row in await connection.fetch(Q["members"], project_id)]
    return members, [to_key(row) for row in await connection.fetch(Q["keys"], project_id)]


class PostgresIdentity:
    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def create_project(
        self,
        project: Project,
        member: Member | None,
        key: ApiKey | None,
        idempotency: IdempotencyRecord | None = None,
    ) -> Project:
        async def job(connection: Connection, _now: int) -> Project:
            if await connection.fetchrow(Q["project_by_slug"], project.slug) is not None:
                raise Error("PROJECT_SLUG_TAKEN", f"A project with the slug {project.slug} exists")
            await connection.execute(Q["add_project"], *astuple(project))
            if member is not None:
                await connection.execute(Q["put_member"], *astuple(member))
            if key is not None:
                await connection.execute(Q["add_key"], *from_key(key))
            return project

        return await self._writer.do(idempotent(job, idempotency))

    async def ensure_project(self, project: Project, member: Member | None, key: ApiKey | None) -> Project:
        async def job(connection: Connection, _now: int) -> Project:
            row = await connection.fetchrow(Q["project_by_slug"], project.slug)
            if row is None:
                await connection.execute(Q["add_project"], *astuple(project))
            there = project if row is None else Project(*row)
            if member is not None:
                await connection.execute(Q["keep_member"], there.id, *astuple(member)[1:])
            if key is not None and await connection.fetchrow(Q["key_by_hash"], key.hash) is None:
                values = from_key(key)
                await connection.execute(Q["add_key"], values[0], there.id, *values[2:])
            return there

        return await self._writer.do(job)

    async def project(self, ref: str) -> Project | None:
        row = await self._readers.row(Q["project"], ref)
        return None if row is None else Project(*row)

    async def projects(self, ids: Sequence[str] | None) -> list[Project]:
        asked = (Q["projects"],) if ids is None else (Q["projects_by_id"], list(ids))
        rows = await self._readers.rows(*asked)
        return [Project(*row) for row in rows]

    async def is_empty(self) -> bool:
        return await self._readers.row(Q["any_project"]) is None

    async def create_key(self, key: ApiKey, idempotency: IdempotencyRecord | None = None) -> ApiKey:
        async def job(connection: Connection, _now: int) -> ApiKey:
            await connection.execute(Q["add_key"], *from_key(key))
            return key

        return await self._writer.do(idempotent(job, idempotency))

    async def key_by_hash(self, digest: bytes) -> ApiKey | None:
        row = await self._readers.row(Q["key_by_hash"], digest)
        return None if row is None else to_key(row)

    async def keys(self, project_id: str) -> list[ApiKey]:
        return [to_key(row) for row in await self._readers.rows(Q["keys"], project_id)]

    async def revoke_key(self, project_id: str, key_id: str, now: int) -> ApiKey | None:
        async def job(connection: Connection, _now: int) -> ApiKey | None:
            await connection.execute(Q["lock_project"], project_id)
            row = await connection.fetchrow(Q["revoke_key"], now, project_id, key_id)
            return None if row is None else to_key(row)

        return await self._writer.do(job)

    async def touch_keys(self, used: dict[str, int]) -> None:
        async def job(connection: Connection, _now: int) -> None:
            await connection.execute(Q["touch_keys"], list(used), list(used.values()))

        await self._writer.do(job)

    async def put_member(
        self, member: Member, guard: Guard, idempotency: IdempotencyRecord | None = None
    ) -> Member:
        async def job(connection: Connection, _now: int) -> Member:
            guard(*await _opened_by(connection, member.project_id))
            return Member(*await connection.fetchrow(Q["put_member"], *astuple(member)))

        return await self._writer.do(idempotent(job, idempotency))

    async def remove_member(self, project_id: str, user_id: str, guard: Guard) -> bool:
        async def job(connection: Connection, _now: int) -> bool:
            guard(*await _opened_by(connection, project_id))
            return await connection.fetchrow(Q["remove_member"], project_id, user_id) is not None

        return await self._writer.do(job)

    async def members(self, project_id: str) -> list[Member]:
        rows = await self._readers.rows(Q["members"], project_id)
        return [Member(*row) for row in rows]

    async def roles(self, user_id: str) -> dict[str, Role]:
        rows = await self._readers.rows(Q["roles"], user_id)
        return dict(rows)
