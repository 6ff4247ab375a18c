"""How far a batch is, in one line, and how long the rest may take."""

from typing import Final

from runstead.cli.shared.render import Screen, span
from runstead.sdk import BatchProgress, StatusCounts

_ENDS: Final = ("completed", "failed", "cancelled")
_STATES: Final = (*_ENDS, "running", "waiting", "pending")
_BAR_CELLS_MAX: Final = 40
_BAR_CELLS_MIN: Final = 8


def ended(counts: StatusCounts) -> int:
    return sum(getattr(counts, state) for state in _ENDS)


class Pace:
    """Estimates by how many runs have ended since the watch began. `clock` answers seconds that only grow."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def left_s(self, progress: BatchProgress, now: float) -> float | None:
        """Seconds until the last one ends at this pace; None where nothing has ended yet."""
        done = ended(progress.status_counts)
        if self._first is None:
            self._first = (now, done)
        began, before = self._first
        rest = progress.total - done
        if rest <= 0:
            return 0.0
        if done <= before or now <= began:
            return None
        return rest * (now - began) / (done - before)


def progress_line(progress: BatchProgress, left_s: float | None, screen: Screen) -> str:
    """`[████░░░░] 43% 43/100  41 completed  2 failed  57 running  ~2m left`; what does not fit is left out from the end."""
    counts, total = progress.status_counts, progress.total
    done = ended(counts)
    share = 1.0 if total == 0 else done / total
    parts = [f"{int(share * 100)}% {done}/{total}"]
    parts += [f"{getattr(counts, state)} {state}" for state in _STATES if getattr(counts, state)]
    if left_s:
        parts.insert(1, f"~{span(left_s)} left")
    if screen.width is None:
        return "  ".join(parts)
    while len(parts) > 1 and len("  ".join(parts)) + _BAR_CELLS_MIN + 3 >= screen.width:
        parts.pop()
    told = "  ".join(parts)
    room = min(screen.width - len(told) - 4, _BAR_CELLS_MAX)
    if room < 1:
        return told[: screen.width - 1]
    full = int(room * share)
    return f"[{'█' * full}{'░' * (room - full)}] {told}"
