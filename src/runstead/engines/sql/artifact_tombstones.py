"""Deleted runs whose artifacts are still to be removed. A trigger of the database inserts them."""

from collections.abc import Sequence

from runstead.engines.sql.steps import Database, execute, values


class SqlArtifactTombstones:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def some(self, limit: int) -> list[str]:
        return await self._database.read(values, "artifact_tombstones", limit=limit)

    async def drop(self, uids: Sequence[str]) -> None:
        await self._database.write(lambda _now: execute("drop_artifact_tombstones", uids=list(uids)))
