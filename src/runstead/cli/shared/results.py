"""What a command read or changed: as JSON, as a table, or as one line."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runstead.cli.shared.output import write_err, write_out
from runstead.cli.shared.render import Column, Screen, document, safe, table


class Output(NamedTuple):
    """What a command prints: `value` as JSON, or `text` for people, with a `note` on stderr."""

    value: Any
    text: str = ""
    note: str = ""
    exit_code: int = 0

    def show(self, *, json: bool) -> None:
        """Print it. End the program unless the exit code is 0."""
        if json:
            write_out(document(self.value))
        elif self.text:
            write_out(self.text)
        if self.note and not json:
            write_err(self.note)
        if self.exit_code:
            sys.exit(self.exit_code)


def listed(found: Sequence[Any], columns: Sequence[Column[Any]], what: str) -> Output:
    """Return a JSON array, a table, or `no …` on stderr if the list is empty."""
    if found:
        return Output(found, table(columns, found, Screen.of()))
    return Output(found, note=f"no {what}")


def with_secret(answer: Any, name: str, value: str | None, note: str) -> Output:
    """Return the name of a new object and its secret on a line each, with a note about the secret on stderr."""
    if value is None:
        return Output(answer, name)
    return Output(answer, f"{name}\n{value}", f"runstead: the second line is {note}; it is shown only now")


def one_line(value: Any, text: str) -> Output:
    """Return the value as JSON, or the line that describes it. Harmful characters are escaped."""
    return Output(value, safe(text))


def facts(value: Mapping[str, Any]) -> Output:
    """Return the members of an object, on a line each."""
    return Output(value, "\n".join(f"{name}: {safe(str(member))}" for name, member in value.items()))
