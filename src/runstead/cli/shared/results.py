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


def print_secret(answer: Any, name: str, secret: str | None, note: str, *, json: bool) -> None:
    """Print the name of a new object and its secret on a line each, with a note about the secret on stderr."""
    if json:
        write_out(document(answer))
        return
    write_out(name)
    if secret is not None:
        write_out(secret)
        write_err(f"runstead: the second line is {note}; it is shown only now")


def print_result(value: Any, line: str, *, json: bool) -> None:
    """Print the value as JSON, or the line that describes it. Harmful characters are escaped."""
    write_out(document(value) if json else safe(line))
