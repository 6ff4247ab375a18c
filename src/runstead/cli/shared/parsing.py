"""What people type, read: JSON or text, `name=value`, files, moments."""

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from runstead.cli.shared.output import refuse

USAGE: Final = 2
_SPAN: Final = re.compile(r"(\d{1,9})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def json_or_text(told: str) -> Any:
    """JSON where it is JSON, else the text itself: `3` is a number, `"3"` a text, `Ada` a text. `@file` reads a file,
    `-` or `@-` stdin.
    """
    text = contents(told)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def json_object(option: str, told: str) -> dict[str, Any]:
    found = _decoded(option, told)
    if not isinstance(found, dict):
        refuse(f"{option} must be a JSON object, like '{{\"key\": 1}}'", USAGE)
    return found


def json_list(option: str, told: str) -> list[Any]:
    """A JSON array, or one value a line."""
    text = contents(told)
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        try:
            return [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
        except msgspec.DecodeError as wrong:
            refuse(f"{option} is neither a JSON array nor one JSON value a line: {wrong}", USAGE)
    return found if isinstance(found, list) else [found]


def _decoded(option: str, told: str) -> Any:
    try:
        return msgspec.json.decode(contents(told))
    except msgspec.DecodeError as wrong:
        refuse(f"{option} is not JSON: {wrong}", USAGE)


def contents(told: str) -> str:
    """What is given, or what is in the file or on stdin that it names."""
    try:
        if told in {"-", "@-"}:
            return sys.stdin.read()
        return Path(told[1:]).read_text(encoding="utf-8") if told.startswith("@") and len(told) > 1 else told
    except OSError as trouble:
        refuse(f"cannot read {told[1:]}: {trouble.strerror}")
    except UnicodeDecodeError:
        refuse(f"{told.lstrip('@')} is not UTF-8")


def pairs(option: str, told: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in told:
        name, separator, value = one.partition("=")
        if not separator or not name:
            refuse(f"{option} takes name=value, not {one!r}", USAGE)
        found[name] = value
    return found


def config(told: Iterable[str], whole: str | None) -> dict[str, Any] | None:
    """The object of `--config-json` with the members of `--config` put into it; None where neither is given."""
    base = {} if whole is None else json_object("--config-json", whole)
    base |= {name: json_or_text(value) for name, value in pairs("--config", told).items()}
    return base or (None if whole is None else {})


def span(option: str, told: str) -> timedelta:
    """`90s`, `10m`, `2h`, `3d`, `1w`."""
    found = _SPAN.fullmatch(told)
    if found is None:
        refuse(f"{option} takes a span like 90s, 10m, 2h, 3d or 1w, not {told!r}", USAGE)
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def moment(option: str, told: str, *, ahead: bool = False) -> datetime:
    """A time in ISO 8601 (without a zone: of this machine), or a span: so long ago, with `ahead` from now."""
    if _SPAN.fullmatch(told):
        try:
            return datetime.now(UTC) + (span(option, told) if ahead else -span(option, told))
        except OverflowError:
            refuse(f"{option} is too far away: {told}", USAGE)
    try:
        return datetime.fromisoformat(told).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        refuse(f"{option} takes a time like 2026-03-20T12:00:00Z or a span like 2h, not {told!r}", USAGE)
