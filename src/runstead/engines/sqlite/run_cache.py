"""The writer's cache: the runs that it wrote last, and the projects without webhooks, limits, budgets and rates of
tokens.

Only jobs read and fill it, inside their transactions. The writer clears it after a rollback, after a write by another
process, and after every write that may have changed cached data.
"""

from operator import attrgetter
from typing import Final

from runstead.core import limits
from runstead.core.runs.run import LARGE, Run
from runstead.ports.store import RunKey

_RUN_BYTES: Final = 2_048  # estimate for a run without its large values
_large = attrgetter("error", *sorted(LARGE))


class WriterCache:
    def __init__(self) -> None:
        self._runs: dict[int, tuple[Run, int]] = {}  # by seq, latest write last
        self._seqs: dict[tuple[str, str], int] = {}
        self._bytes = 0
        self.without_webhooks = Names()
        self.without_limits = Names()
        self.without_budgets = Names()
        self.without_token_rates = Names()
        # Seqs of cancelled runs with descendants that are not cancelled yet. None: to be read.
        self.cancelling: frozenset[int] | None = None

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def bytes(self) -> int:
        """The estimated size of the cached runs."""
        return self._bytes

    def clear(self) -> None:
        self._runs.clear()
        self._seqs.clear()
        self._bytes = 0
        self.without_webhooks.clear()
        self.without_limits.clear()
        self.without_budgets.clear()
        self.without_token_rates.clear()
        self.cancelling = None

    def get(self, key: RunKey) -> Run | None:
        """The stored run, or None if it is not cached."""
        seq = self._seqs.get(key)
        return None if seq is None else self._runs[seq][0]

    def numbered(self, seq: int) -> Run | None:
        """As `get`, by seq."""
        cached = self._runs.get(seq)
        return None if cached is None else cached[0]

    def put(self, run: Run) -> None:
        """Cache a written run. Drop a terminal one, which is rarely read again."""
        if run.terminal:
            self.drop(run.seq)
            return
        cached = self._runs.pop(run.seq, None)
        if cached is None:
            self._seqs[run.project_id, run.run_id] = run.seq
        else:
            self._bytes -= cached[1]
        size = _RUN_BYTES + sum(map(len, filter(None, _large(run))))
        self._runs[run.seq] = run, size
        self._bytes += size
        while self._bytes > limits.run_cache_bytes_max or len(self._runs) > limits.run_cache_entries_max:
            self.drop(next(iter(self._runs)))

    def drop(self, seq: int) -> None:
        """Drop a run from the cache."""
        cached = self._runs.pop(seq, None)
        if cached is not None:
            run, size = cached
            self._bytes -= size
            del self._seqs[run.project_id, run.run_id]


class Names(set[str]):
    """A bounded set of project ids."""

    def add(self, name: str) -> None:
        if len(self) >= limits.run_cache_entries_max:
            self.clear()
        super().add(name)
