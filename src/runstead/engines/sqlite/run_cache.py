"""What the only writer knows of the file without reading it: the runs that it wrote last, and which projects have no
webhooks and no limits.

Only jobs read and fill it, inside their transactions. The writer clears it when a transaction is rolled back, when another
process has written to the file, and after every write that may have changed what it knows.
"""

from operator import attrgetter
from typing import Final

from runstead.core import limits
from runstead.core.runs.run import LARGE, Run
from runstead.ports.store import RunKey

_RUN_BYTES: Final = 2_048  # of a run without its large values, about
_large = attrgetter("error", *sorted(LARGE))


class WriterCache:
    def __init__(self) -> None:
        self._runs: dict[int, tuple[Run, int]] = {}  # by seq, the one that was written last at the end
        self._seqs: dict[tuple[str, str], int] = {}
        self._bytes = 0
        self.without_webhooks = Names()
        self.without_limits = Names()

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def bytes(self) -> int:
        """About what its runs take up."""
        return self._bytes

    def clear(self) -> None:
        self._runs.clear()
        self._seqs.clear()
        self._bytes = 0
        self.without_webhooks.clear()
        self.without_limits.clear()

    def get(self, key: RunKey) -> Run | None:
        """The run as the file holds it, where that is known."""
        seq = self._seqs.get(key)
        return None if seq is None else self._runs[seq][0]

    def numbered(self, seq: int) -> Run | None:
        """The same by its seq."""
        known = self._runs.get(seq)
        return None if known is None else known[0]

    def put(self, run: Run) -> None:
        """Note what was written. A run that has ended is hardly asked for again."""
        if run.terminal:
            self.drop(run.seq)
            return
        known = self._runs.pop(run.seq, None)
        if known is None:
            self._seqs[run.project_id, run.run_id] = run.seq
        else:
            self._bytes -= known[1]
        size = _RUN_BYTES + sum(map(len, filter(None, _large(run))))
        self._runs[run.seq] = run, size
        self._bytes += size
        while self._bytes > limits.run_cache_bytes_max or len(self._runs) > limits.run_cache_entries_max:
            self.drop(next(iter(self._runs)))

    def drop(self, seq: int) -> None:
        """Forget a run that is written without being known, or that goes."""
        known = self._runs.pop(seq, None)
        if known is not None:
            run, size = known
            self._bytes -= size
            del self._seqs[run.project_id, run.run_id]


class Names(set[str]):
    """Ids of projects, as many as there is room for."""

    def add(self, name: str) -> None:
        if len(self) >= limits.run_cache_entries_max:
            self.clear()
        super().add(name)
