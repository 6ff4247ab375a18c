"""Entries of a run's log: a line with time and level, and the lines that belong to it, such as a traceback."""

from runstead.core.runs.log_levels import LEVELS, level_of_entry


class LogFilter:
    """Keeps entries that contain a text and have at least a level. A line without a level has that of the line before."""

    def __init__(self, search: str | None = None, level: str | None = None) -> None:
        self._search = None if search is None else search.casefold()
        self._least = None if level is None else LEVELS.index(level)
        self._level = LEVELS.index("info")

    def keep(self, text: str) -> str | None:
        """The entries of the text that match; None if no entry does."""
        if self._search is None and self._least is None:
            return text
        kept = [entry for entry in _entries(text) if self._matches(entry)]
        return "\n".join(kept) if kept else None

    def _matches(self, entry: str) -> bool:
        found = level_of_entry(entry)
        if found is not None:
            self._level = LEVELS.index(found)
        if self._least is not None and self._level < self._least:
            return False
        return self._search is None or self._search in entry.casefold()


def _entries(text: str) -> list[str]:
    entries: list[str] = []
    in_entry = False
    for line in text.split("\n"):
        if level_of_entry(line):
            entries.append(line)
            in_entry = True
        elif in_entry:
            entries[-1] += f"\n{line}"
        else:
            entries.append(line)
    return entries


def rest_of_log(logs: str | None, last: str | None) -> str:
    """What a stored log has after `last`, the text that was read last. Empty if the log does not contain it."""
    whole = (logs or "").rstrip("\n")
    if not last:
        return whole
    line = last.rpartition("\n")[2]
    start = whole.rfind(line)
    return "" if start < 0 else whole[start + len(line) :].lstrip("\n")
