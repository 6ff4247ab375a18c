"""The program `runstead`: one file for each group of commands."""

import sys
from collections.abc import Sequence

from runstead.cli.commands import overview

__all__ = ["main"]

USAGE, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
_LEADING = ("--profile", "--url", "--key", "--project")


def main(tokens: Sequence[str] | None = None) -> None:
    """Run one command. It ends with SystemExit: docs/cli.md tells of the exit codes."""
    from runstead.cli.shared.output import refuse, say  # noqa: PLC0415

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a letter that the terminal's encoding lacks is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if tokens is None else tokens)
    if given in ([], ["--help"], ["-h"]):  # what answers everything else takes ten times as long to load
        say(overview())
        sys.exit(0)
    from cyclopts import CycloptsError  # noqa: PLC0415

    from runstead.cli.app import app  # noqa: PLC0415

    try:
        given = hoisted(given)
        app(given, exit_on_error=False, print_error=False)
    except CycloptsError as wrong:
        refuse(f"{str(wrong).strip()} See --help.", USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _leave_the_pipe()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _leave_the_pipe()


def hoisted(tokens: list[str]) -> list[str]:
    """`--profile prod runs list` → `runs list --profile prod`: these options may also stand before the command."""
    from runstead.cli.app import app  # noqa: PLC0415

    leading: list[str] = []
    while tokens and tokens[0].partition("=")[0] in _LEADING:
        taken = 1 if "=" in tokens[0] else 2
        leading, tokens = leading + tokens[:taken], tokens[taken:]
    if not leading or not tokens or tokens[0].startswith("-"):
        return leading + tokens
    words, group = 0, app
    while words < len(tokens) and not tokens[words].startswith("-") and tokens[words] in group:
        group = group[tokens[words]]
        words += 1
    return tokens[:words] + leading + tokens[words:]


def _leave_the_pipe() -> None:
    """Whoever read the answer (`head`, say) has gone: nothing more to say, and no complaint at the exit."""
    import os  # noqa: PLC0415

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(BROKEN_PIPE)
