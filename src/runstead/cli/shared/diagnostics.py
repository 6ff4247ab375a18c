"""Findings of `runstead doctor`."""

from typing import Final, Literal

import msgspec

from runstead.cli.shared.render import format_duration

Level = Literal["ok", "warn", "fail"]

_SKEW_S_WARN: Final = 5.0
_SKEW_S_FAIL: Final = 60.0


class Finding(msgspec.Struct, frozen=True):
    """The result of a check. `advice` says how to fix it, empty if there is nothing to fix."""

    check: str
    level: Level
    detail: str
    advice: str = ""


def ok(check: str, detail: str) -> Finding:
    return Finding(check, "ok", detail)


def warning(check: str, detail: str, advice: str) -> Finding:
    return Finding(check, "warn", detail, advice)


def failure(check: str, detail: str, advice: str) -> Finding:
    return Finding(check, "fail", detail, advice)


def skew(check: str, seconds: float, coarse_s: float) -> Finding:
    """A finding about another clock, `seconds` ahead of this machine's, known to `coarse_s` seconds."""
    off = max(abs(seconds) - coarse_s, 0.0)
    way = "ahead of" if seconds > 0 else "behind"
    if off < _SKEW_S_WARN:
        return ok(check, "agrees with this machine's clock")
    level: Level = "fail" if off >= _SKEW_S_FAIL else "warn"
    return Finding(
        check,
        level,
        f"{format_duration(abs(seconds))} {way} this machine's clock",
        "synchronize both with NTP: tokens and keys expire by the server's clock, leases by the database's",
    )
