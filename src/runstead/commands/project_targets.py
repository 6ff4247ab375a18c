"""The registered targets of projects, as this process knows them."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from runstead.core import limits
from runstead.core.clock import elapsed_s
from runstead.core.queue.target import TargetState
from runstead.ports.store import Store


class ServedTargets(NamedTuple):
    """The targets of a project. `any_served`: a worker is online that may serve any target."""

    by_name: Mapping[str, TargetState]
    any_served: bool


class ProjectTargets:
    """The targets of projects, each read again after `limits.target_states_s`."""

    def __init__(self, store: Store, clock: Callable[[], float] = elapsed_s) -> None:
        """`clock` in seconds."""
        self._store = store
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, ServedTargets]] = OrderedDict()

    def known(self, project_id: str) -> ServedTargets | None:
        """Return the targets if they were read a short time ago."""
        found = self._known.get(project_id)
        return None if found is None or found[0] < self._clock() else found[1]

    async def of(self, project_id: str) -> ServedTargets:
        found = self.known(project_id)
        if found is None:
            states, any_served = await self._store.targets.states(project_id, limits.target_states_max)
            found = ServedTargets({each.target: each for each in states}, any_served)
            self._known[project_id] = self._clock() + limits.target_states_s, found
            self._known.move_to_end(project_id)
            if len(self._known) > limits.target_projects_max:
                self._known.popitem(last=False)
        return found

    def forget(self, project_id: str) -> None:
        """Read the project's targets again: a worker has registered or was removed."""
        self._known.pop(project_id, None)
