"""Targets that workers have registered. A registration of a worker replaces those that it serves."""

from typing import Protocol

from runstead.core.queue.target import RegisteredTarget, TargetDefinition, TargetState
from runstead.ports.store.list_page import ListPage


class Targets(Protocol):
    async def page(self, project_id: str, after: str, limit: int) -> ListPage[RegisteredTarget]:
        """Return a project's targets after `after`, by name: at most `limits.list_page_bytes_max` of them."""

    async def get(self, project_id: str, target: str) -> TargetDefinition | None: ...

    async def states(self, project_id: str, limit: int) -> tuple[list[TargetState], bool]:
        """Return what decisions about runs need of a project's targets, at most `limit`, by name.

        The second value: whether a worker is online that has registered no targets, so that it may serve any.
        """
