"""How a run or a batch that was waited for ended, as an exit code."""

from typing import Final

FAILED: Final = 4
CANCELLED: Final = 5
_CODES: Final = {"completed": 0, "failed": FAILED, "cancelled": CANCELLED}


def exit_code(status: str) -> int:
    return _CODES.get(status, 1)
