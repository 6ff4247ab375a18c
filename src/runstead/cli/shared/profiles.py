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
    """An invalid config file. The message contains no values of the file, which may be secret."""


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str | None = None
    key: str | None = None
    project: str | None = None


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default: str | None = None
    profiles: dict[str, Profile] = {}


class File(msgspec.Struct, frozen=True):
    """The config file. `readable_by_others`: it contains a key, and other users can read or write it."""

    path: Path
    exists: bool = False
    default: str | None = None
    profiles: dict[str, Profile] = {}
    readable_by_others: bool = False


def path(environment: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CONFIG_HOME/runstead/config.toml`, else under `~/.config`."""
    configured = environment.get("XDG_CONFIG_HOME", "")
    home = Path(environment.get("HOME") or Path.home())
    # The XDG specification says to ignore a relative path.
    base = Path(configured) if configured.startswith("/") else home / ".config"
    return base / "runstead" / "config.toml"


def read(environment: Mapping[str, str] = os.environ) -> File:
    """The config file; an empty one if it does not exist. ProfileError."""
    where = path(environment)
    try:
        with where.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            content = opened.read()
    except (FileNotFoundError, NotADirectoryError):
        return File(where)
    except OSError as error:
        raise ProfileError(f"cannot read {where}: {error.strerror}") from None
    try:
        found = msgspec.convert(tomllib.loads(content.decode()), _Document)
    except UnicodeDecodeError:
        raise ProfileError(f"{where} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{where} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ProfileError(
            f"{where}: {error}; it has `default` and [profiles.<name>] with {_MEMBERS}, each a string"
        ) from None
    keyed = any(profile.key for profile in found.profiles.values())
    readable = bool(stat.S_IMODE(mode) & 0o077)
    return File(
        where,
        exists=True,
        default=found.default,
        profiles=found.profiles,
        readable_by_others=keyed and readable,
    )
