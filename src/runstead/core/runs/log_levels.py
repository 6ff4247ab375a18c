"""Levels of the lines in a run's log, as the SDK's handler of the logging module writes them."""

import re
from typing import Final

#: From the lowest to the highest.
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_START: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")


def level_of_entry(line: str) -> str | None:
    """The level of a line that starts an entry. None for any other line, such as those of a traceback."""
    found = _START.match(line)
    return None if found is None else found[1].lower()
