"""Reports as JSON, or as tables and sentences."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.table import Table


def now() -> str:
    """Return the time in UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rendered(report: msgspec.Struct, parts: Iterable[Table | str], *, json: bool) -> str:
    """Return the text to print, with a final newline. It is coloured only where stdout is a terminal."""
    if json:
        return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"
    console = Console(highlight=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part, markup=False)
    return capture.get()
