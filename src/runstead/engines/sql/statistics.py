"""Numbers of queued and running runs, counted up to a bound."""

from collections.abc import Sequence

from runstead.engines.sql.steps import Database, Steps, now, select
from runstead.ports.store import Depth


class SqlStatistics:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def depths(self, project_ids: Sequence[str], most: int) -> list[Depth]:
        def depths() -> Steps[list[Depth]]:
            time = yield from now()
            return (yield from select("depths", Depth, project_ids=list(project_ids), now=time, most=most))

        return await self._database.scan(depths)
