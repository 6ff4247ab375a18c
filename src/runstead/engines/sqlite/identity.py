"""Projects, members and keys in SQLite."""

import sqlite3
from collections.abc import Sequence

from msgspec.structs import astuple

from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Role
from runstead.core.identity.project import ApiKey, Member, Project
from runstead.engines.sql.columns import from_key, to_key
from runstead.engines.sqlite.idempotency import idempotent
from runstead.engines.sqlite.readers import Readers
from runstead.engines.sqlite.rows import encode
from runstead.engines.sqlite.sql import Q
from runstead.engines.sqlite.writer import Writer
from runstead.ports.store import Guard


def _opened_by(connection: sqlite3.Connection, project_id: str) -> tuple[list[Member], list[ApiKey]]:
    members = [Member(*row) for row in connection.execute(Q["members"], (project_id,))]
    return members, [to_key(row) for row in connection.execute(Q["keys"], (project_id,))]


class SqliteIdentity:
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
        def job(connection: sqlite3.Connection, _now: int) -> Project:
            if connection.execute(Q["project_by_slug"], (project.slug,)).fetchone() is not None:
                raise Error("PROJECT_SLUG_TAKEN", f"A project with the slug {project.slug} exists")
            connection.execute(Q["add_project"], astuple(project))
            if member is not None:
                connection.execute(Q["put_member"], astuple(member))
            if key is not None:
                connection.execute(Q["add_key"], from_key(key))
            return project

        return await self._writer.do(idempotent(job, idempotency))

    async def ensure_project(self, project: Project, member: Member | None, key: ApiKey | None) -> Project:
        def job(connection: sqlite3.Connection, _now: int) -> Project:
            row = connection.execute(Q["project_by_slug"], (project.slug,)).fetchone()
            if row is None:
                connection.execute(Q["add_project"], astuple(project))
            there = project if row is None else Project(*row)
            if member is not None:
                connection.execute(Q["keep_member"], (there.id, *astuple(member)[1:]))
            if key is not None and connection.execute(Q["key_by_hash"], (key.hash,)).fetchone() is None:
                values = from_key(key)
                connection.execute(Q["add_key"], (values[0], there.id, *values[2:]))
            return there

        return await self._writer.do(job)

    async def project(self, ref: str) -> Project | None:
        def read(connection: sqlite3.Connection) -> Project | None:
            row = connection.execute(Q["project"], (ref,)).fetchone()
            return None if row is None else Project(*row)

        return await self._readers.do(read)

    async def projects(self, ids: Sequence[str] | None) -> list[Project]:
        asked = (Q["projects"],) if ids is None else (Q["projects_by_id"], (encode(list(ids)).decode(),))
        return await self._readers.do(lambda c: [Project(*row) for row in c.execute(*asked)])

    async def is_empty(self) -> bool:
        return await self._readers.do(lambda c: c.execute(Q["any_project"]).fetchone() is None)

    async def create_key(self, key: ApiKey, idempotency: IdempotencyRecord | None = None) -> ApiKey:
        def job(connection: sqlite3.Connection, _now: int) -> ApiKey:
            connection.execute(Q["add_key"], from_key(key))
            return key

        return await self._writer.do(idempotent(job, idempotency))

    async def key_by_hash(self, digest: bytes) -> ApiKey | None:
        def read(connection: sqlite3.Connection) -> ApiKey | None:
            row = connection.execute(Q["key_by_hash"], (digest,)).fetchone()
            return None if row is None else to_key(row)

        return await self._readers.do(read)

    async def keys(self, project_id: str) -> list[ApiKey]:
        return await self._readers.do(lambda c: [to_key(row) for row in c.execute(Q["keys"], (project_id,))])

    async def revoke_key(self, project_id: str, key_id: str, now: int) -> ApiKey | None:
        def job(connection: sqlite3.Connection, _now: int) -> ApiKey | None:
            row = connection.execute(Q["revoke_key"], (now, project_id, key_id)).fetchone()
            return None if row is None else to_key(row)

        return await self._writer.do(job)

    async def touch_keys(self, used: dict[str, int]) -> None:
        def job(connection: sqlite3.Connection, _now: int) -> None:
            connection.executemany(Q["touch_key"], [(at, key_id) for key_id, at in used.items()])

        await self._writer.do(job)

    async def put_member(
        self, member: Member, guard: Guard, idempotency: IdempotencyRecord | None = None
    ) -> Member:
        def job(connection: sqlite3.Connection, _now: int) -> Member:
            guard(*_opened_by(connection, member.project_id))
            return Member(*connection.execute(Q["put_member"], astuple(member)).fetchone())

        return await self._writer.do(idempotent(job, idempotency))

    async def remove_member(self, project_id: str, user_id: str, guard: Guard) -> bool:
        def job(connection: sqlite3.Connection, _now: int) -> bool:
            guard(*_opened_by(connection, project_id))
            return connection.execute(Q["remove_member"], (project_id, user_id)).rowcount == 1

        return await self._writer.do(job)

    async def members(self, project_id: str) -> list[Member]:
        return await self._readers.do(
            lambda c: [Member(*row) for row in c.execute(Q["members"], (project_id,))]
        )

    async def roles(self, user_id: str) -> dict[str, Role]:
        return await self._readers.do(lambda c: dict(c.execute(Q["roles"], (user_id,)).fetchall()))
