"""Quotas of projects."""

from msgspec.structs import replace

from runstead.core.identity.quota import Quota
from runstead.engines.sql.methods import SqlNoun, command
from runstead.engines.sql.steps import Steps, changed, execute, first, select, select_rows, value, values


class SqlQuotas(SqlNoun):
    @command
    def put(self, now: int, quota: Quota) -> Steps[Quota]:
        yield from values("lock_project", id=quota.project_id)
        old = yield from first("quota", Quota, project_id=quota.project_id)
        new = replace(quota, updated_at=now)
        yield from execute("put_quota", new)
        yield from changed(old, new)
        return new

    async def changed_since(self, updated_at: int) -> list[Quota]:
        return await self._database.read(select, "quotas_since", Quota, updated_at=updated_at)

    async def runs_pending(self, project_id: str, most: int) -> int:
        count: int = await self._database.read(value, "count_pending", project_id=project_id, most=most)
        return count

    async def artifact_bytes(self, project_id: str) -> int:
        return await self._database.read(value, "artifact_bytes", project_id=project_id) or 0

    async def keys_and_members(self, project_id: str) -> tuple[int, int]:
        [row] = await self._database.read(select_rows, "count_access", project_id=project_id)
        return row["keys"], row["members"]
