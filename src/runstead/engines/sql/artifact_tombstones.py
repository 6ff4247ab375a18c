"""Deleted runs whose artifacts are still to be removed. A trigger of the database inserts them."""

from collections.abc import Sequence

from runstead.engines.sql.methods import SqlNoun
from runstead.engines.sql.steps import execute, values


class SqlArtifactTombstones(SqlNoun):
    async def some(self, limit: int) -> list[str]:
        return await self._database.read(values, "artifact_tombstones", limit=limit)

    async def drop(self, uids: Sequence[str]) -> None:
        await self._database.write(lambda _now: execute("drop_artifact_tombstones", uids=list(uids)))
