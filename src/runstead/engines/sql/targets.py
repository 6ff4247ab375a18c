"""Targets that workers have registered."""

from collections.abc import Sequence

from msgspec.structs import asdict

from runstead.core.queue.target import RegisteredTarget, TargetDefinition, TargetState
from runstead.engines.sql.methods import SqlNoun, read
from runstead.engines.sql.steps import Steps, execute, execute_many, first, select, select_page, value, values
from runstead.ports.store import ListPage


class SqlTargets(SqlNoun):
    async def page(self, project_id: str, after: str, limit: int) -> ListPage[RegisteredTarget]:
        return await self._database.page(
            select_page, "targets_page", RegisteredTarget, project_id=project_id, after=after, limit=limit
        )

    async def get(self, project_id: str, target: str) -> TargetDefinition | None:
        return await self._database.read(
            first, "target", TargetDefinition, project_id=project_id, target=target
        )

    @read
    def states(self, project_id: str, limit: int) -> Steps[tuple[list[TargetState], bool]]:
        found = yield from select("target_states", TargetState, project_id=project_id, limit=limit)
        other = yield from value("online_worker_without_targets", project_id=project_id)
        return found, other is not None


def put_targets(
    project_id: str, worker_id: str, targets: Sequence[TargetDefinition], now: int
) -> Steps[None]:
    """Replace the targets that a worker serves. Its row is locked. Targets that no worker serves any more are deleted."""
    before = yield from values("worker_targets", project_id=project_id, worker_id=worker_id)
    yield from execute("remove_worker_targets", project_id=project_id, worker_id=worker_id)
    ordered = sorted(targets, key=lambda each: each.target)  # transactions lock rows in one order
    yield from execute_many(
        "add_worker_target",
        [{"worker_id": worker_id, "target": each.target, "project_id": project_id} for each in ordered],
    )
    rows = [{**asdict(each), "project_id": project_id, "registered_at": now} for each in ordered]
    yield from execute_many("put_target", rows)
    kept = {each.target for each in targets}
    yield from _remove_unserved(project_id, [name for name in before if name not in kept])


def remove_targets(project_id: str, worker_id: str) -> Steps[None]:
    """Delete what a removed worker served."""
    before = yield from values("worker_targets", project_id=project_id, worker_id=worker_id)
    yield from execute("remove_worker_targets", project_id=project_id, worker_id=worker_id)
    yield from _remove_unserved(project_id, before)


def _remove_unserved(project_id: str, names: Sequence[str]) -> Steps[None]:
    rows = [{"project_id": project_id, "target": name} for name in sorted(names)]
    yield from execute_many("remove_target_of_no_worker", rows)
