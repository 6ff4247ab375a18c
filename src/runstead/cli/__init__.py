"""The program `runstead`: one file for each group of commands."""

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runstead.cli.commands import overview
from runstead.cli.shared.exit_codes import BROKEN_PIPE, INTERRUPTED, USAGE

if TYPE_CHECKING:
    from cyclopts import CycloptsError

__all__ = ["main"]

_LEADING = ("--profile", "--url", "--key", "--project")


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command. Raises SystemExit with an exit code of docs/cli.md."""
    from runstead.cli.shared.output import fail, write_out  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # escape characters that the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if tokens is None else tokens)
    if arguments in ([], ["--help"], ["-h"]):  # the full parser takes ten times as long to import
        write_out(overview())
        sys.exit(0)
    from cyclopts import CycloptsError  # noqa: PLC0415

    from runstead.cli.app import app  # noqa: PLC0415

    try:
        arguments = hoisted(arguments)
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        fail(f"{_usage_error(error)} See --help.", USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _exit_with_broken_pipe()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _exit_with_broken_pipe()


def _usage_error(error: "CycloptsError") -> str:
    """The message, which names a missing option as missing and an argument too many."""
    text = str(error).strip()
    if missing := re.match(r"Command \"(.+)\" parameter (.+) requires an argument\.$", text):
        value = " with a value" if missing[2].startswith("-") else ""
        return f"`{missing[1]}` needs {missing[2]}{value}."
    if extra := re.match(r"Unused Tokens: \[(.*)\]\.$", text, re.DOTALL):
        return f"Unexpected argument {extra[1]}."
    return text


def hoisted(tokens: list[str]) -> list[str]:
    """Move leading connection options: `--profile prod runs list` → `runs list --profile prod`."""
    from runstead.cli.app import app  # noqa: PLC0415

    leading: list[str] = []
    while tokens and tokens[0].partition("=")[0] in _LEADING:
        size = 1 if "=" in tokens[0] else 2
        leading, tokens = leading + tokens[:size], tokens[size:]
    if not leading or not tokens or tokens[0].startswith("-"):
        return leading + tokens
    count, group = 0, app
    while count < len(tokens) and not tokens[count].startswith("-") and tokens[count] in group:
        group = group[tokens[count]]
        count += 1
    return tokens[:count] + leading + tokens[count:]


def _exit_with_broken_pipe() -> None:
    """Exit quietly after the reader of stdout, such as `head`, has closed the pipe."""
    import os  # noqa: PLC0415

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(BROKEN_PIPE)
