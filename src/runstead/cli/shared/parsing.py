"""Parses command-line values: JSON or text, `name=value`, files, times and durations."""

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.output import fail

_DURATION: Final = re.compile(r"(\d{1,9})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def json_or_text(value: str | None) -> Any:
    """The value decoded as JSON or, if it is not JSON, as text: `3` is a number, `"3"` and `Ada` are texts.

    `@file` reads a file; `-` and `@-` read stdin. None: the option is missing.
    """
    if value is None:
        return None
    text = read_text(value)
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def json_object(option: str, value: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        decoded = msgspec.json.decode(read_text(value))
    except msgspec.DecodeError as error:
        fail(f"{option} is not JSON: {error}", USAGE)
    if not isinstance(decoded, dict):
        fail(f"{option} must be a JSON object, like '{{\"key\": 1}}'", USAGE)
    return decoded


def json_list(option: str, value: str) -> list[Any]:
    """A JSON array, or one JSON value per line."""
    text = read_text(value)
    try:
        decoded = msgspec.json.decode(text)
    except msgspec.DecodeError:
        try:
            return [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
        except msgspec.DecodeError as error:
            fail(f"{option} is neither a JSON array nor one JSON value per line: {error}", USAGE)
    return decoded if isinstance(decoded, list) else [decoded]


def read_text(value: str) -> str:
    """The value itself, or the content of the file or stdin that it names."""
    try:
        if value in {"-", "@-"}:
            return sys.stdin.read()
        if value.startswith("@") and len(value) > 1:
            return Path(value[1:]).read_text(encoding="utf-8")
    except OSError as error:
        fail(f"cannot read {value[1:]}: {error.strerror}")
    except UnicodeDecodeError:
        fail(f"{value.lstrip('@')} is not UTF-8")
    return value


def name_value_pairs(option: str, values: Iterable[str]) -> dict[str, str]:
    """Values of the form `name=value`."""
    pairs: dict[str, str] = {}
    for one in values:
        name, separator, value = one.partition("=")
        if not separator or not name:
            fail(f"{option} takes name=value, not {one!r}", USAGE)
        pairs[name] = value
    return pairs


def label_filters(values: Iterable[str] | None) -> list[str] | None:
    """Values of `--label` of a filter: `name=value`, as when a run is created, or the API's `name:value`."""
    if values is None:
        return None
    found = []
    for one in values:
        pair = re.split("[=:]", one, maxsplit=1)
        if len(pair) == 1 or not pair[0]:
            fail(f"--label takes name=value, not {one!r}", USAGE)
        found.append(":".join(pair))
    return found


def check_targets(values: Iterable[str] | None) -> None:
    """End the program if a target has no kind."""
    for one in values or ():
        if ":" not in one:
            fail(f"a target is task:…, workflow:…, eval:… or agent:…, not {one!r}", USAGE)


def read_config(pairs: Iterable[str], config_json: str | None) -> dict[str, Any] | None:
    """The object of `--config-json`, updated with the members of `--config`; None if both are missing."""
    config = {} if config_json is None else json_object("--config-json", config_json)
    config |= {name: json_or_text(value) for name, value in name_value_pairs("--config", pairs).items()}
    return config or (None if config_json is None else {})


def parse_seconds(option: str, text: str) -> int:
    """The seconds of a duration such as `90s`, `10m`, `2h`, `3d` or `1w`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        fail(f"{option} takes a duration like 90s, 10m, 2h, 3d or 1w, not {text!r}", USAGE)
    return int(match[1]) * _SECONDS[match[2]]


def parse_time(option: str, text: str | None, *, ahead: bool = False) -> datetime | None:
    """A time in ISO 8601 (local if it has no zone), or a duration before now, with `ahead` after now.

    None: the option is missing.
    """
    if text is None:
        return None
    if _DURATION.fullmatch(text):
        seconds = parse_seconds(option, text)
        try:
            return datetime.now(UTC) + timedelta(seconds=seconds if ahead else -seconds)
        except OverflowError:
            fail(f"{option} is too far away: {text}", USAGE)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        fail(f"{option} takes a time like 2026-03-20T12:00:00Z or a duration like 2h, not {text!r}", USAGE)


def parse_unique(key: str | None, lasts: str | None) -> dict[str, Any] | None:
    """The unique key of `--unique` and `--unique-for`."""
    if key is None:
        if lasts is not None:
            fail("--unique-for needs --unique", USAGE)
        return None
    return {"key": key, "while": "active" if lasts is None else parse_seconds("--unique-for", lasts)}


def parse_debounce(key: str | None, lasts: str | None, longest: str | None) -> dict[str, Any] | None:
    """The debounce of `--debounce`, `--debounce-for` and `--debounce-max`."""
    if key is None or lasts is None:
        if (key, lasts, longest) != (None, None, None):
            fail("--debounce needs --debounce-for, and both of its durations need --debounce", USAGE)
        return None
    most = {} if longest is None else {"max_seconds": parse_seconds("--debounce-max", longest)}
    return {"key": key, "seconds": parse_seconds("--debounce-for", lasts)} | most
