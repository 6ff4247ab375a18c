"""Prints what a command read or changed: as JSON, as a table, or as one line."""

from collections.abc import Sequence
from typing import Any

from runstead.cli.shared.output import write_err, write_out
from runstead.cli.shared.render import Column, Screen, document, safe, table


def print_list(found: Sequence[Any], columns: Sequence[Column[Any]], what: str, *, json: bool) -> None:
    """Print a JSON array, a table, or `no …` on stderr if the list is empty."""
    if json:
        write_out(document(found))
    elif found:
        write_out(table(columns, found, Screen.of()))
    else:
        write_err(f"no {what}")


def print_result(value: Any, line: str, *, json: bool) -> None:
    """Print the value as JSON, or the line that describes it. Harmful characters are escaped."""
    write_out(document(value) if json else safe(line))
