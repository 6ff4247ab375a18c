"""Reports as JSON, or as tables and sentences."""

from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.table import Table


def rendered(report: msgspec.Struct, parts: Iterable[Table | str], *, json: bool) -> str:
    """Return the text to print, with a final newline. It is coloured only where stdout is a terminal."""
    if json:
        return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"
    console = Console(highlight=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part, markup=False)
    return capture.get()
