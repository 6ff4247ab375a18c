"""What the doctor finds."""

from typing import Final, Literal

import msgspec

from runstead.cli.shared.render import span

Level = Literal["ok", "warn", "fail"]

_SKEW_S_WARN: Final = 5.0
_SKEW_S_FAIL: Final = 60.0


class Finding(msgspec.Struct, frozen=True):
    """`advice`: what to do about it, empty where there is nothing to do."""

    check: str
    level: Level
    detail: str
    advice: str = ""


def skew(check: str, seconds: float, coarse_s: float) -> Finding:
    """How far another clock is ahead of ours, which was told to `coarse_s` seconds."""
    off = max(abs(seconds) - coarse_s, 0.0)
    way = "ahead of" if seconds > 0 else "behind"
    if off < _SKEW_S_WARN:
        return Finding(check, "ok", "agrees with this machine's")
    level: Level = "fail" if off >= _SKEW_S_FAIL else "warn"
    return Finding(
        check,
        level,
        f"{span(abs(seconds))} {way} this machine's",
        "let NTP set both: tokens and keys expire by the server's clock, leases by the database's",
    )
