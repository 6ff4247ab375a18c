"""Saved views of the list of runs."""

from collections.abc import Callable

from runstead.core.runs.saved_view import SavedView
from runstead.engines.sql.methods import SqlNoun, command
from runstead.engines.sql.steps import Steps, execute, select, value, values


class SqlSavedViews(SqlNoun):
    @command
    def put(self, _now: int, view: SavedView, guard: Callable[[int], None]) -> Steps[None]:
        yield from values("lock_project", id=view.project_id)
        guard(
            (
                yield from value(
                    "count_saved_views", project_id=view.project_id, owner=view.owner, name=view.name
                )
            )
        )
        yield from execute("put_saved_view", view)

    async def of(self, project_id: str, owner: str) -> list[SavedView]:
        return await self._database.read(select, "saved_views", SavedView, project_id=project_id, owner=owner)

    async def delete(self, project_id: str, owner: str, name: str) -> bool:
        deleted = await self._database.write(
            lambda _now: execute("delete_saved_view", project_id=project_id, owner=owner, name=name)
        )
        return deleted > 0
