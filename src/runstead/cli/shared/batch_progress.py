"""The progress of a batch in one line."""

from typing import TYPE_CHECKING, Final

from runstead.cli.shared.render import Screen, format_duration

if TYPE_CHECKING:
    from runstead.sdk.models.batch import BatchProgress, StatusCounts

_ENDED: Final = ("completed", "failed", "cancelled")
_STATES: Final = (*_ENDED, "running", "waiting", "pending")
_BAR_CELLS_MAX: Final = 40
_BAR_CELLS_MIN: Final = 8


def ended(counts: "StatusCounts") -> int:
    """The number of runs that have ended."""
    return sum(getattr(counts, state) for state in _ENDED)


def progress_line(progress: "BatchProgress", left_s: float | None, screen: Screen) -> str:
    """A line such as `[████░░░░] 43% 43/100  ~2m left  41 completed  2 failed  57 running`.

    Parts that do not fit are dropped from the end. `left_s` is the estimated time left in seconds.
    """
    counts, total = progress.status_counts, progress.total
    done = ended(counts)
    share = 1.0 if total == 0 else done / total
    parts = [f"{int(share * 100)}% {done}/{total}"]
    parts += [f"{getattr(counts, state)} {state}" for state in _STATES if getattr(counts, state)]
    if left_s:
        parts.insert(1, f"~{format_duration(left_s)} left")
    if screen.width is None:
        return "  ".join(parts)
    while len(parts) > 1 and len("  ".join(parts)) + _BAR_CELLS_MIN + 3 >= screen.width:
        parts.pop()
    text = "  ".join(parts)
    cells = min(screen.width - len(text) - 4, _BAR_CELLS_MAX)
    if cells < 1:
        return text[: screen.width - 1]
    full = int(cells * share)
    return f"[{'█' * full}{'░' * (cells - full)}] {text}"
