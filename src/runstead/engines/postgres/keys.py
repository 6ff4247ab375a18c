"""The runs that hold the keys of new runs, under a lock of each key.

A transaction locks keys before it locks runs, and only a transaction of its own locks keys. So none of two that create
runs with the same key waits for the other's runs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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

    def __init__(self, holders: Mapping[_Key, RunKey] | None = None) -> None:
        self.holders = dict(holders or {})

    def runs(
        self, project_id: str, wanted: WantedKeys | None, find: Callable[[RunKey], Run | None]
    ) -> KeyedRuns:
        """The runs of a command's keys, as this transaction has loaded and changed them."""
        if wanted is None:
            return NO_KEYED_RUNS
        found = {}
        for key in _keys(project_id, wanted):
            holder = self.holders.get(key)
            found[key.kind] = None if holder is None else find(holder)
        return KeyedRuns(**found)


async def lock_keys(connection: Connection, commands: Sequence[Any]) -> KeyHolders:
    """Lock the keys that commands want, in one order, and find their runs. It must be the first lock of a transaction."""
    keys = sorted({key for command in commands for key in _wanted(command)})
    if not keys:
        return KeyHolders()
    await DRIVER.run(connection, lock(LockSpace.RUN_KEYS, [key.lock_name for key in keys]))
    # A separate statement, so that it sees commits made during the wait.
    holders = {}
    for key in keys:
        run_id = await connection.fetchval(Q[f"run_by_{key.kind}_key"], key.project_id, key.key, key.target)
        if run_id is not None:
            holders[key] = RunKey(key.project_id, run_id)
    return KeyHolders(holders)


def _wanted(command: Any) -> Iterable[_Key]:
    want = getattr(command, "want", None)
    return () if want is None or want.keys is None else _keys(command.project_id, want.keys)


def _keys(project_id: str, wanted: WantedKeys) -> Iterable[_Key]:
    for kind in ("unique", "debounce"):
        key = getattr(wanted, kind)
        if key is not None:
            yield _Key(kind, project_id, wanted.target, key)
