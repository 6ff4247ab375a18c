"""Output of commands. Nothing else in the CLI prints."""

import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

from runstead.cli.shared.exit_codes import REFUSED, USAGE


def write_out(text: str, end: str = "\n", *, flush: bool = False) -> None:
    """Print to stdout: the command's result."""
    print(text, end=end, flush=flush)


def write_err(text: str) -> None:
    """Print to stderr: notes and warnings."""
    print(text, file=sys.stderr)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine. An expected error ends the program with its message."""
    import asyncio  # noqa: PLC0415 - not for `runstead --help`

    from runstead.core.errors import Error  # noqa: PLC0415
    from runstead.server.telemetry import log_to_stderr  # noqa: PLC0415

    log_to_stderr()
    try:
        return asyncio.run(work)
    except Error as error:
        fail(error.message)
    except (ValueError, RuntimeError, OSError) as error:
        fail(str(error))
    except Exception as error:
        fail_if_database_error(error)
        raise


def fail_if_database_error(error: Exception) -> None:
    """End the program if the error is SQLite's."""
    import sqlite3  # noqa: PLC0415

    if isinstance(error, sqlite3.Error):
        fail(f"cannot use the database: {error}")


def fail(message: str, status: int = REFUSED) -> NoReturn:
    """Print one line to stderr and end the program with this exit code."""
    from runstead.cli.shared.render import safe  # noqa: PLC0415

    print(f"runstead: {safe(message)}", file=sys.stderr)
    sys.exit(status)


def confirm(question: str, *, yes: bool) -> None:
    """Ask for a `y` in a terminal, and end the program without one. `yes`: do not ask."""
    from runstead.cli.shared.render import safe  # noqa: PLC0415

    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{question} There is no terminal to ask in: confirm with --yes", USAGE)
    print(f"{safe(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        fail("nothing was changed")
