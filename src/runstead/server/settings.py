"""All settings, read from the environment. A test compares them with docs/configuration.md."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from runstead.core import limits
from runstead.core.identity.openid import ROLES, USER_CLAIMS, OpenIdSettings, parse_roles
from runstead.core.identity.project import check_bootstrap_key
from runstead.core.identity.quota import BOUNDS, parse_quota

_CODEC_URL: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
_NATS: Final = ("nats://", "tls://")
_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


class SettingError(ValueError):
    """An invalid setting. The message is for the operator."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A field `x` is the variable RUNSTEAD_X. `_PARSERS` checks the values that are not plain text."""

    host: str = "127.0.0.1"
    port: int = 8720
    processes: int = 1
    database_url: str = "sqlite:///./runstead.db"
    database_read_url: str | None = None
    sqlite_synchronous: str = "FULL"
    notifier: str | None = None
    bootstrap_key: str | None = None
    bootstrap_project: str = "default"
    jwt_public_key: str | None = None
    jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    admins: tuple[str, ...] = ()
    projects_per_user_max: int = limits.projects_per_user_max
    quota: str | None = None
    cors_origins: tuple[str, ...] | None = None
    signing_key_file: str | None = None
    encryption_key: str | None = None
    public_url: str | None = None
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = None
    oidc_name: str | None = None
    oidc_scopes: str = "openid profile email"
    oidc_user_claim: str = "sub"
    oidc_groups_claim: str = "groups"
    oidc_roles: str | None = None
    allow_private_egress: bool = False
    retention_days: int | None = None
    audit_retention_days: int = limits.audit_retention_days_default
    artifacts_url: str | None = None
    artifact_bytes_max: int = limits.artifact_bytes_max
    value_bytes_max: int = limits.large_value_bytes_max
    codec_url: str | None = None
    connections_max: int | None = None
    connections_per_address_max: int | None = None
    trusted_proxies: tuple[str, ...] | None = None
    access_log_ms: int | None = None
    tls_cert: str | None = None
    tls_key: str | None = None


#: Variable → field.
NAMES: Final = {f"RUNSTEAD_{field.upper()}": field for field in Settings.__struct_fields__}


def load(
    environment: Mapping[str, str] = os.environ,
    *,
    host: str | None = None,
    port: int | None = None,
    database: str | None = None,
    processes: int | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> Settings:
    """Read the settings. Options of the command line take precedence. An empty variable counts as not set."""
    options = {
        "host": host,
        "port": None if port is None else str(port),
        "database_url": database,
        "processes": None if processes is None else str(processes),
        "tls_cert": tls_cert,
        "tls_key": tls_key,
    }
    values: dict[str, Any] = {}
    for name, field in NAMES.items():
        text, source = environment.get(name), name
        if option := options.get(field):
            text, source = option, f"--{field}"
        if text:
            values[field] = _PARSERS[field](source, text) if field in _PARSERS else text
    settings = Settings(**values)
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise SettingError("TLS needs both files: RUNSTEAD_TLS_CERT and RUNSTEAD_TLS_KEY")
    if settings.processes > 1 and not is_postgres(settings.database_url):
        raise SettingError(
            "Several processes need PostgreSQL (RUNSTEAD_DATABASE_URL=postgresql://...): in SQLite only one process"
            " writes at a time, so the others would only wait for it"
        )
    if settings.database_read_url is not None and not is_postgres(settings.database_url):
        raise SettingError(
            "RUNSTEAD_DATABASE_READ_URL names standbys of PostgreSQL, and RUNSTEAD_DATABASE_URL is not postgresql://..."
        )
    openid_of(settings)  # refuses invalid settings
    return settings


def openid_of(settings: Settings) -> OpenIdSettings | None:
    """Return the settings of the OpenID provider, None if there is none. SettingError if one is invalid."""
    issuer, client_id, public = settings.oidc_issuer, settings.oidc_client_id, settings.public_url
    if public is not None and not _ORIGIN.fullmatch(public.rstrip("/").lower()):
        raise SettingError(
            f"RUNSTEAD_PUBLIC_URL must be scheme and host, such as https://runstead.example.com, not {public!r}"
        )
    if issuer is None:
        return None
    parts = urlsplit(issuer)
    if not _ORIGIN.fullmatch(f"{parts.scheme}://{parts.netloc}".lower()) or parts.query or parts.fragment:
        raise SettingError(f"RUNSTEAD_OIDC_ISSUER must be an http or https URL, not {issuer!r}")
    if client_id is None or public is None:
        raise SettingError("RUNSTEAD_OIDC_ISSUER needs RUNSTEAD_OIDC_CLIENT_ID and RUNSTEAD_PUBLIC_URL")
    if "openid" not in settings.oidc_scopes.split():
        raise SettingError(f"RUNSTEAD_OIDC_SCOPES must contain openid, and is {settings.oidc_scopes!r}")
    if settings.oidc_user_claim not in USER_CLAIMS:
        raise SettingError(
            f"RUNSTEAD_OIDC_USER_CLAIM must be one of {', '.join(USER_CLAIMS)}, not {settings.oidc_user_claim!r}"
        )
    try:
        roles = parse_roles(settings.oidc_roles or "")
    except ValueError as wrong:
        raise SettingError(
            "RUNSTEAD_OIDC_ROLES must list <group>=<project>:<role>, separated by commas, with a role of"
            f" {', '.join(ROLES)}; {str(wrong)!r} is not one"
        ) from None
    return OpenIdSettings(
        issuer=issuer,
        client_id=client_id,
        client_secret=settings.oidc_client_secret,
        redirect_uri=f"{public.rstrip('/')}/ui/sign-in/openid/callback",
        name=settings.oidc_name or parts.netloc,
        scopes=settings.oidc_scopes,
        groups_claim=settings.oidc_groups_claim,
        user_claim=settings.oidc_user_claim,  # type: ignore[arg-type]
        roles=roles,
    )


def is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def _number(first: int, last: int, wanted: str | None = None) -> Callable[[str, str], int]:
    def parse(name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and first <= int(text) <= last):
            what = wanted or f"number from {first} to {last}"
            raise SettingError(f"{name} must be a {what}, not {text!r}")
        return int(text)

    return parse


def _above_zero(what: str) -> Callable[[str, str], int]:
    return _number(1, limits.integer_max, f"{what} above 0")


def _url(accepts: Callable[[str], object], wanted: str) -> Callable[[str, str], str]:
    """Parse a URL, which may contain a password: errors do not repeat it."""

    def parse(name: str, url: str) -> str:
        if not accepts(url):
            raise SettingError(f"{name} must be {wanted}, not {_without_secrets(url)}")
        return url

    return parse


def _projects_per_user(name: str, text: str) -> int:
    return 0 if text == "0" else _above_zero("number")(name, text)


def _flag(name: str, text: str) -> bool:
    value = text.lower()
    if value not in ("true", "false", "1", "0"):
        raise SettingError(f"{name} must be true or false, not {text!r}")
    return value in ("true", "1")


def _synchronous(name: str, text: str) -> str:
    if (mode := text.upper()) not in _SYNCHRONOUS:
        raise SettingError(f"{name} must be one of {', '.join(_SYNCHRONOUS)}, not {mode!r}")
    return mode


def _bootstrap_key(_name: str, text: str) -> str:
    try:
        check_bootstrap_key(text)
    except ValueError as error:
        raise SettingError(str(error)) from None
    return text


def _quota(name: str, text: str) -> str:
    try:
        parse_quota(text)
    except ValueError as wrong:
        raise SettingError(
            f"{name} must list <name>=<number>, separated by commas, with names of {', '.join(BOUNDS)};"
            f" {str(wrong)!r} is not one"
        ) from None
    return text


def _is_notifier(url: str) -> bool:
    return url == "memory://" or url.startswith(_NATS)


def _is_artifacts(url: str) -> bool:
    kind, separator, rest = url.partition("://")
    if not separator:
        return True
    if kind == "s3":
        return bool(rest) and not rest.startswith(("/", "?"))
    return kind == "file" and rest.startswith("/") and rest != "/"


def _without_secrets(url: str) -> str:
    kind, separator, _ = url.partition("://")
    return f"{kind}://..." if separator else repr(url)


def _list(_name: str, text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _origins(name: str, text: str) -> tuple[str, ...] | None:
    origins = _list(name, text)
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise SettingError(
                f"{name} must list origins such as https://app.example.com, separated by commas,"
                f" or be *, not {origin!r}"
            )
    return origins or None


def _codec_url(name: str, text: str) -> str:
    if not _CODEC_URL.fullmatch(text):
        raise SettingError(
            f"{name} must be a URL such as https://codec.example.com/decode, without a password, not {text!r}"
        )
    return text


def _networks(name: str, text: str) -> tuple[str, ...]:
    networks = _list(name, text)
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise SettingError(
                f"{name} must list addresses such as 127.0.0.1 and networks such as"
                f" 10.0.0.0/8, separated by commas, not {network!r}"
            ) from None
    return networks


#: Field → function of (variable or option, text). It returns the value, or raises SettingError.
_PARSERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "port": _number(0, 65_535),
    "processes": _number(1, limits.processes_max),
    "database_read_url": _url(is_postgres, "postgresql://<user>@<host>/<database>"),
    "sqlite_synchronous": _synchronous,
    "notifier": _url(_is_notifier, "nats://<host>:<port>, tls://<host>:<port> or memory://"),
    "bootstrap_key": _bootstrap_key,
    "admins": _list,
    "projects_per_user_max": _projects_per_user,
    "quota": _quota,
    "cors_origins": _origins,
    "allow_private_egress": _flag,
    "retention_days": _number(1, limits.retention_days_max),
    "audit_retention_days": _number(1, limits.retention_days_max),
    "artifacts_url": _url(_is_artifacts, "a directory, file:///<directory> or s3://<bucket>/<prefix>"),
    "artifact_bytes_max": _above_zero("number of bytes"),
    "value_bytes_max": _above_zero("number of bytes"),
    "codec_url": _codec_url,
    "connections_max": _above_zero("number"),
    "connections_per_address_max": _above_zero("number"),
    "trusted_proxies": _networks,
    "access_log_ms": _number(0, limits.access_log_ms_max),
}


def sqlite_path(url: str) -> Path:
    """Return the path of a SQLite URL: `sqlite:///./runstead.db` is relative,
    `sqlite:////var/lib/runstead.db` absolute.
    """
    prefix = "sqlite:///"
    if not url.startswith(prefix) or len(url) == len(prefix):
        raise SettingError(
            "The database must be postgresql://<user>@<host>/<database> or sqlite:///<path>,"
            f" not {url.partition('@')[2] or url!r}"
        )
    return Path(url.removeprefix(prefix))
