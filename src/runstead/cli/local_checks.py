"""Checks of `runstead doctor` on this machine. No check raises or shows a credential."""

import asyncio
import os
import shutil
import sqlite3
import stat
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runstead import __version__
from runstead.cli.shared import profiles
from runstead.cli.shared.diagnostics import Finding, Level, failure, ok, skew, warning
from runstead.server.settings import Settings, is_postgres, load, sqlite_path

_DISK_BYTES_WARN: Final = 2 * 1024**3
_DISK_BYTES_FAIL: Final = 200 * 1024**2
_FILES_WARN: Final = 4_096
_FILES_FAIL: Final = 256


def machine_checks(database: str | None) -> Iterator[Finding]:
    """Findings about the machine, and about the settings and store of a server on it."""
    yield _versions()
    yield _config_file()
    yield _files()
    try:
        settings = load(database=database)
    except ValueError as error:
        yield failure("settings", str(error), "correct the variable, or unset it")
        return
    yield from _settings(settings)
    yield from _store(settings, named=bool(database or os.environ.get("RUNSTEAD_DATABASE_URL")))
    yield from _signing_keys(settings)
    yield from _secrets(settings)


def _versions() -> Finding:
    python = ".".join(map(str, sys.version_info[:3]))
    detail = f"runstead {__version__}, Python {python}"
    if not _optimized():
        return warning(
            "versions",
            f"{detail}, built without --enable-optimizations: the server is slower than it could be",
            "use the Python of your distribution, of python.org or of uv, 3.13 or newer",
        )
    return ok("versions", detail)


def _optimized() -> bool:
    """Whether the interpreter was built with profile-guided optimization.

    Distributions (prefix /usr) optimize without the configure option that `sysconfig` shows; Windows shows no options.
    """
    arguments = sysconfig.get_config_var("CONFIG_ARGS")
    return not arguments or "--enable-optimizations" in arguments or sys.base_prefix == "/usr"


def _config_file() -> Finding:
    try:
        file = profiles.read()
    except profiles.ProfileError as error:
        return failure("config file", str(error), "correct it: docs/configuration.md has an example")
    if not file.exists:
        return ok("config file", f"{file.path} does not exist; it is optional")
    if file.readable_by_others:
        return warning(
            "config file", f"{file.path} holds a key, and others can read it", f"chmod 600 {file.path}"
        )
    return ok("config file", f"{file.path} has {len(file.profiles)} profile(s)")


def _files() -> Finding:
    try:
        import resource  # noqa: PLC0415
    except ImportError:  # Windows
        return ok("open files", "this system has no limit of open files")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= _FILES_WARN:
        most = "any number of" if hard == resource.RLIM_INFINITY else f"{hard:,}"
        return ok("open files", f"a process may open {most} files")
    level: Level = "fail" if hard < _FILES_FAIL else "warn"
    advice = "raise the hard limit (ulimit -Hn, LimitNOFILE= of systemd): each open stream is an open file"
    return Finding("open files", level, f"a process may open only {hard:,} files", advice)


def _settings(settings: Settings) -> Iterator[Finding]:
    if settings.host not in {"127.0.0.1", "::1", "localhost"}:
        yield warning(
            "settings",
            f"RUNSTEAD_HOST is {settings.host}: the server is reachable from the network without TLS",
            "put a reverse proxy with TLS in front of it",
        )
    else:
        yield ok("settings", "every RUNSTEAD_* variable is valid")


def _store(settings: Settings, *, named: bool) -> Iterator[Finding]:
    postgres = is_postgres(settings.database_url)
    if not postgres:
        try:
            path = sqlite_path(settings.database_url)
        except ValueError as error:
            yield failure("store", str(error), "set RUNSTEAD_DATABASE_URL or --database")
            return
        yield from _sqlite(settings, path)
        if not path.exists():
            yield _no_file(path, named=named)
            return
    yield _migrated(settings)
    if postgres:
        yield from _postgres(settings.database_url)
        yield from _standbys(settings)


def _no_file(path: Path, *, named: bool) -> Finding:
    if named and not path.absolute().parent.is_dir():
        return failure("store", f"{path}: its directory does not exist", "create the directory")
    of_dev = Path(".runstead/runstead.db")
    if not named and of_dev.exists():
        detail = f"{path} does not exist: this is about `runstead serve`, and `runstead dev` has {of_dev}"
        return ok("store", f"{detail} (--database sqlite:///{of_dev})")
    return Finding("store", "warn" if named else "ok", f"{path} does not exist yet: the server creates it")


def _migrated(settings: Settings) -> Finding:
    from runstead.server.engines import make_store  # noqa: PLC0415

    try:
        pending = asyncio.run(make_store(settings).pending())
    except (RuntimeError, OSError, ValueError, sqlite3.Error) as error:
        return failure("store", str(error), "is the database running, and is RUNSTEAD_DATABASE_URL right?")
    if pending:
        detail = f"{len(pending)} pending migration(s), first {pending[0].name}"
        return warning("store", detail, "run `runstead db migrate`, or start the server, which applies them")
    return ok("store", "reachable, all migrations applied")


def _sqlite(settings: Settings, path: Path) -> Iterator[Finding]:
    from runstead.server.engines import oldest_sqlite  # noqa: PLC0415

    oldest = oldest_sqlite()
    if sqlite3.sqlite_version_info < oldest:
        least = ".".join(map(str, oldest))
        yield failure(
            "engine",
            f"SQLite {sqlite3.sqlite_version} is too old",
            f"install a Python that has SQLite {least} or newer",
        )
    elif settings.sqlite_synchronous == "OFF":
        yield warning(
            "engine",
            f"SQLite {sqlite3.sqlite_version}, and RUNSTEAD_SQLITE_SYNCHRONOUS=OFF: a power loss may damage the file",
            "unset it, except for tests",
        )
    else:
        yield ok("engine", f"SQLite {sqlite3.sqlite_version}, synchronous {settings.sqlite_synchronous}")
    yield _disk(path.absolute().parent)


def _disk(where: Path) -> Finding:
    while not where.exists() and where != where.parent:
        where = where.parent
    try:
        usage = shutil.disk_usage(where)
    except OSError as error:
        return failure("disk", f"{where}: {error.strerror}", "is the file system mounted?")
    free = f"{usage.free / 1024**3:,.1f} GiB free at {where}"
    if not os.access(where, os.W_OK):
        return failure(
            "disk", f"{where} cannot be written", "make it writable for the user that runs the server"
        )
    if usage.free < _DISK_BYTES_FAIL:
        return failure("disk", free, "free disk space: without it, writes are refused")
    if usage.free < _DISK_BYTES_WARN:
        return warning("disk", free, "free disk space soon, or set RUNSTEAD_RETENTION_DAYS")
    return ok("disk", free)


def _postgres(url: str) -> Iterator[Finding]:
    try:
        version, theirs, ours = asyncio.run(_ask_postgres(url))
    except Exception:  # noqa: BLE001 - the store's own check reports why
        return
    yield ok("engine", f"PostgreSQL {version}")
    yield skew("clock of the database", theirs - ours, 0.0)


async def _ask_postgres(url: str) -> tuple[str, float, float]:
    from runstead.server.engines import open_postgres  # noqa: PLC0415

    connection = await open_postgres(url)
    try:
        version = await connection.fetchval("SHOW server_version")
        before = time.time()
        theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
        return str(version), float(theirs), (before + time.time()) / 2
    finally:
        await connection.close()


def _standbys(settings: Settings) -> Iterator[Finding]:
    if settings.database_read_url is None:
        return
    from runstead.server.engines import check_standbys  # noqa: PLC0415

    check = "standbys"
    try:
        found = asyncio.run(check_standbys(settings))
    except Exception as error:  # noqa: BLE001 - a check does not raise
        advice = "is RUNSTEAD_DATABASE_READ_URL right, and was the primary migrated?"
        yield failure(check, f"they were not checked: {error}", advice)
        return
    detail = ", ".join(f"{address} is {state}" for address, state in found)
    if any(state == "in use" for _, state in found):
        yield ok(check, detail)
    else:
        advice = "the primary serves all reads: see docs/standbys.md"
        yield warning(check, detail, advice)


def _signing_keys(settings: Settings) -> Iterator[Finding]:
    if settings.signing_key_file is None:
        yield ok("signing keys", "in the store, created when first needed")
        return
    from runstead.security.signing import read_file  # noqa: PLC0415

    path = Path(settings.signing_key_file)
    try:
        keys = read_file(path)
        mode = stat.S_IMODE(path.stat().st_mode)
    except (ValueError, OSError) as error:
        advice = f"create them with `runstead keys signing --out {path}`"
        yield failure("signing keys", str(error), advice)
        return
    if mode & 0o077:
        yield warning("signing keys", f"{path} can be read by other users", f"chmod 600 {path}")
    else:
        yield ok("signing keys", f"{path} holds {len(keys)} keys")


def _secrets(settings: Settings) -> Iterator[Finding]:
    """Which secrets of the store are encrypted. Nothing if the store cannot be read: its own check reports why."""
    from runstead.cli.encryption import described  # noqa: PLC0415
    from runstead.security.stored_secrets import SETTING  # noqa: PLC0415
    from runstead.server import administration  # noqa: PLC0415
    from runstead.server.engines import encryption_key_file, make_secrets  # noqa: PLC0415

    check, create = "stored secrets", "create a key with `runstead keys encryption create`"
    try:
        secrets = make_secrets(settings, encrypted=False)
    except ValueError as error:
        yield failure(check, str(error), create)
        return
    try:
        counts = asyncio.run(administration.secrets(settings.database_url))
    except Exception:  # noqa: BLE001 - the store's own check reports why
        return
    detail, file = described(counts), encryption_key_file(settings)
    if file is not None and file.exists():
        detail += f"; the key is in {file}"
    if any(not each.readable for each in counts):
        advice = f"set {SETTING} to the key; without it, replace the webhooks' and triggers' secrets and the signing keys"
        yield failure(check, detail, advice)
    elif secrets.current is None and is_postgres(settings.database_url):
        yield warning(check, f"{detail}; no encryption key is set", f"set {SETTING}: {create}")
    elif any(each.key_id is None for each in counts):
        yield warning(check, detail, "start the server, or run `runstead keys encryption rotate`")
    elif not all(each.current for each in counts):
        yield warning(check, detail, "run `runstead keys encryption rotate`, then remove the earlier key")
    elif file is not None and file.exists() and file.stat().st_mode & 0o077:
        yield warning(check, f"{file} can be read by other users", f"chmod 600 {file}")
    else:
        yield ok(check, detail)
