"""Numbers of queued and running runs, and ages of queues, up to a bound."""

from collections.abc import Sequence

from runstead.engines.sql.methods import SqlNoun, scan
from runstead.engines.sql.steps import Steps, now, select, select_rows
from runstead.ports.store import Depth, Measured, QueueAge


class SqlStatistics(SqlNoun):
    @scan
    def depths(self, project_ids: Sequence[str], most: int) -> Steps[list[Depth]]:
        time = yield from now()
        return (yield from select("depths", Depth, project_ids=list(project_ids), now=time, most=most))

    @scan
    def measured(self, projects_max: int, runs_max: int, queues_max: int) -> Steps[Measured]:
        time = yield from now()
        projects = yield from select_rows("measured_projects", projects_max=projects_max)
        slugs = {row["id"]: row["slug"] for row in projects}
        depths = yield from select("depths", Depth, project_ids=list(slugs), now=time, most=runs_max)
        ages = yield from select("queue_ages", QueueAge, now=time, queues_max=queues_max)
        return Measured([(slugs[depth.project_id], depth) for depth in depths], ages)
