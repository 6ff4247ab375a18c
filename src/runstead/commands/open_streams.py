"""Bounds the open streams of a project and of a caller, so that no caller takes the memory of the others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from runstead.commands.quota_enforcement import ProjectQuotas
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import Principal


class OpenStreams:
    """The open streams of this process: API and dashboard, counted by project and by caller."""

    def __init__(self, quotas: ProjectQuotas) -> None:
        self._quotas = quotas
        self._counts: Counter[str] = Counter()

    def of_project(self, project_id: str) -> int:
        """Return the number of the project's open streams."""
        return self._counts[f"project:{project_id}"]

    def slot(self, principal: Principal, project_id: str) -> AbstractContextManager[None]:
        """Return the slot of a new stream, which counts while it is entered. STREAM_LIMIT_REACHED."""
        project, caller = f"project:{project_id}", principal.identity
        for name, most, owner in (
            (project, self._quotas.of(project_id).streams or limits.streams_per_project_max, "The project"),
            (caller, limits.streams_per_caller_max, "The caller"),
        ):
            if self._counts[name] >= most:
                message = f"{owner} has {most} open streams at this server: close some, or retry later"
                raise Error("STREAM_LIMIT_REACHED", message, retry_after_s=limits.stream_retry_s)
        return self._entered((project, caller))

    @contextmanager
    def _entered(self, names: tuple[str, ...]) -> Iterator[None]:
        self._counts.update(names)
        try:
            yield
        finally:
            self._counts.subtract(names)
            for name in names:
                if not self._counts[name]:
                    del self._counts[name]
