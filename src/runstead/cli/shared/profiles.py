"""The config file: profiles by name, each a server, a key and a project."""

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

_MEMBERS: Final = "url, key and project"


class ProfileError(ValueError):
    """A config file that cannot be used; the sentence is for whoever wrote it, and holds nothing of its values."""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str | None = None
    key: str | None = None
    project: str | None = None


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default: str | None = None
    profiles: dict[str, Profile] = {}


class File(msgspec.Struct, frozen=True):
    """`open_to_others`: it holds a key, and others than its owner may read or write it."""

    path: Path
    there: bool = False
    default: str | None = None
    profiles: dict[str, Profile] = {}
    open_to_others: bool = False


def path(environment: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CONFIG_HOME/runstead/config.toml`, else under `~/.config`."""
    told = environment.get("XDG_CONFIG_HOME", "")
    # By the specification a relative path is as good as none.
    base = Path(told) if told.startswith("/") else Path(environment.get("HOME") or Path.home()) / ".config"
    return base / "runstead" / "config.toml"


def read(environment: Mapping[str, str] = os.environ) -> File:
    """The file; an empty one where there is none. ProfileError."""
    where = path(environment)
    try:
        with where.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            content = opened.read()
    except (FileNotFoundError, NotADirectoryError):
        return File(where)
    except OSError as trouble:
        raise ProfileError(f"cannot read {where}: {trouble.strerror}") from None
    try:
        found = msgspec.convert(tomllib.loads(content.decode()), _Document)
    except UnicodeDecodeError:
        raise ProfileError(f"{where} is not UTF-8") from None
    except tomllib.TOMLDecodeError as wrong:
        raise ProfileError(f"{where} is not TOML: {wrong}") from None
    except msgspec.ValidationError as wrong:
        raise ProfileError(
            f"{where}: {wrong}; it has `default` and [profiles.<name>] with {_MEMBERS}, each a string"
        ) from None
    keyed = any(profile.key for profile in found.profiles.values())
    readable = bool(stat.S_IMODE(mode) & 0o077)
    return File(
        where, there=True, default=found.default, profiles=found.profiles, open_to_others=keyed and readable
    )
