"""How long a batch will take still, by how fast its runs have ended. Pure."""

from collections import deque
from typing import Final, NamedTuple

from runstead.core.batches.batch import Batch

window_ms: Final = 60_000


class Mark(NamedTuple):
    """How many runs had ended, and when (ms)."""

    at: int
    ended: int


def time_left_ms(was: Mark, now: Mark, left: int) -> int | None:
    """As long as the runs that are left take at the pace from one mark to the other. None where nothing ended between
    them, so that there is no pace; 0 where nothing is left.
    """
    if left <= 0:
        return 0
    ended, took = now.ended - was.ended, now.at - was.at
    if ended <= 0 or took <= 0:
        return None
    return -(-left * took // ended)


class Pace:
    """Watches a batch: its pace is that of the last minute, or since its first run began, until it was watched for a
    minute.
    """

    def __init__(self) -> None:
        self._marks: deque[Mark] = deque()

    def time_left_ms(self, batch: Batch, now: int) -> int | None:
        """Take in how the batch stands now. None where no estimate can be made."""
        if batch.started_at is None:
            return 0 if not batch.active else None
        if not self._marks:
            self._marks.append(Mark(batch.started_at, 0))
        mark = Mark(max(now, self._marks[-1].at), batch.total - batch.active)
        # The last one that is a minute old stays, to be measured from.
        while len(self._marks) > 1 and self._marks[1].at <= mark.at - window_ms:
            self._marks.popleft()
        if mark.at - self._marks[-1].at >= window_ms // 60:
            self._marks.append(mark)
        return time_left_ms(self._marks[0], mark, batch.active)
