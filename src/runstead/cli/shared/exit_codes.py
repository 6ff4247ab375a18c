"""Exit codes of the program, as docs/cli.md lists them."""

from typing import Final

REFUSED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
FAILED: Final = 4
CANCELLED: Final = 5
MIGRATIONS_PENDING: Final = 6
MIGRATIONS_NOT_SAFE: Final = 7
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

_BY_STATUS: Final = {"completed": 0, "failed": FAILED, "cancelled": CANCELLED}


def exit_code(status: str) -> int:
    """The exit code for the final status of a run."""
    return _BY_STATUS.get(status, REFUSED)
