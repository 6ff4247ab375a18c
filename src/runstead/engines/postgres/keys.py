"""The runs that hold the keys of new runs, under a lock of each key.

A transaction locks keys before it locks runs, and only a transaction of its own locks keys. So none of two that create
runs with the same key waits for the other's runs.
"""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from runstead.core.runs.flow import NO_KEYED_RUNS, KeyedRuns, WantedKeys
from runstead.core.runs.run import Run
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.related import DRIVER
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.steps import LockSpace, lock
from runstead.ports.store import RunKey


class _Key(NamedTuple):
    kind: str
    project_id: str
    target: str
    key: str

    @property
    def lock_name(self) -> str:
        return "\n".join(self)


class KeyHolders:
    """The runs that hold locked keys, as they were found after the lock."""

    def __init__(self, locked: Iterable[_Key] = ()) -> None:
        self._locked = set(locked)
        self._holders: dict[_Key, RunKey] = {}

    @property
    def names(self) -> set[RunKey]:
        """The runs that hold the keys."""
        return set(self._holders.values())

    def cover(self, project_id: str, wanted: WantedKeys | None) -> bool:
        """Whether this transaction has locked all these keys."""
        return wanted is None or self._locked.issuperset(_keys(project_id, wanted))

    def leave(self, runs: Collection[RunKey]) -> None:
        """Count the keys of these runs as not locked."""
        self._locked -= {key for key, run in self._holders.items() if run in runs}

    def hold(self, key: _Key, run: RunKey) -> None:
        self._holders[key] = run

    def note(self, run: Run) -> None:
        """Note that this transaction created a run."""
        wanted = WantedKeys(run.target or "", run.unique_key, run.debounce_key)
        for key in _keys(run.project_id, wanted):
            self.hold(key, RunKey(run.project_id, run.run_id))

    def runs(
        self, project_id: str, wanted: WantedKeys | None, find: Callable[[RunKey], Run | None]
    ) -> KeyedRuns:
        """The runs of a command's keys, as this transaction has loaded and changed them."""
        if wanted is None:
            return NO_KEYED_RUNS
        found = {}
        for key in _keys(project_id, wanted):
            holder = self._holders.get(key)
            found[key.kind] = None if holder is None else find(holder)
        return KeyedRuns(**found)


async def lock_keys(connection: Connection, wanted: Iterable[tuple[str, WantedKeys | None]]) -> KeyHolders:
    """Lock the keys of (project id, keys), in one order, and find their runs. It must be the first lock of a transaction."""
    keys = sorted(
        {key for project_id, names in wanted if names is not None for key in _keys(project_id, names)}
    )
    if not keys:
        return KeyHolders()
    await DRIVER.run(connection, lock(LockSpace.RUN_KEYS, [key.lock_name for key in keys]))
    # A separate statement, so that it sees commits made during the wait.
    holders = KeyHolders(keys)
    for key in keys:
        run_id = await connection.fetchval(Q[f"run_by_{key.kind}_key"], key.project_id, key.key, key.target)
        if run_id is not None:
            holders.hold(key, RunKey(key.project_id, run_id))
    return holders


def _keys(project_id: str, wanted: WantedKeys) -> Iterable[_Key]:
    for kind in ("unique", "debounce"):
        key = getattr(wanted, kind)
        if key is not None:
            yield _Key(kind, project_id, wanted.target, key)
