"""Numbers of queued and running runs, and ages of queues, up to a bound."""

from collections.abc import Sequence

from runstead.engines.sql.steps import Database, Steps, now, select, select_rows
from runstead.ports.store import Depth, Measured, QueueAge


class SqlStatistics:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def depths(self, project_ids: Sequence[str], most: int) -> list[Depth]:
        def depths() -> Steps[list[Depth]]:
            time = yield from now()
            return (yield from select("depths", Depth, project_ids=list(project_ids), now=time, most=most))

        return await self._database.scan(depths)

    async def measured(self, projects_max: int, runs_max: int, queues_max: int) -> Measured:
        def measured() -> Steps[Measured]:
            time = yield from now()
            projects = yield from select_rows("measured_projects", projects_max=projects_max)
            slugs = {row["id"]: row["slug"] for row in projects}
            depths = yield from select("depths", Depth, project_ids=list(slugs), now=time, most=runs_max)
            ages = yield from select("queue_ages", QueueAge, now=time, queues_max=queues_max)
            return Measured([(slugs[depth.project_id], depth) for depth in depths], ages)

        return await self._database.scan(measured)
