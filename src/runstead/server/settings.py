"""All settings, read from the environment. A test compares them with docs/configuration.md."""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from runstead.core import limits
from runstead.core.identity.openid import ROLES, USER_CLAIMS, OpenIdSettings, parse_roles
from runstead.core.identity.project import check_bootstrap_key
from runstead.core.identity.quota import BOUNDS, parse_quota

NAMES: Final = (
    "RUNSTEAD_HOST",
    "RUNSTEAD_PORT",
    "RUNSTEAD_PROCESSES",
    "RUNSTEAD_DATABASE_URL",
    "RUNSTEAD_SQLITE_SYNCHRONOUS",
    "RUNSTEAD_NOTIFIER",
    "RUNSTEAD_BOOTSTRAP_KEY",
    "RUNSTEAD_BOOTSTRAP_PROJECT",
    "RUNSTEAD_JWT_PUBLIC_KEY",
    "RUNSTEAD_JWKS_URL",
    "RUNSTEAD_JWT_ISSUER",
    "RUNSTEAD_JWT_AUDIENCE",
    "RUNSTEAD_ADMINS",
    "RUNSTEAD_PROJECTS_PER_USER_MAX",
    "RUNSTEAD_QUOTA",
    "RUNSTEAD_CORS_ORIGINS",
    "RUNSTEAD_SIGNING_KEY_FILE",
    "RUNSTEAD_ENCRYPTION_KEY",
    "RUNSTEAD_PUBLIC_URL",
    "RUNSTEAD_OIDC_ISSUER",
    "RUNSTEAD_OIDC_CLIENT_ID",
    "RUNSTEAD_OIDC_CLIENT_SECRET",
    "RUNSTEAD_OIDC_NAME",
    "RUNSTEAD_OIDC_SCOPES",
    "RUNSTEAD_OIDC_USER_CLAIM",
    "RUNSTEAD_OIDC_GROUPS_CLAIM",
    "RUNSTEAD_OIDC_ROLES",
    "RUNSTEAD_ALLOW_PRIVATE_EGRESS",
    "RUNSTEAD_RETENTION_DAYS",
    "RUNSTEAD_AUDIT_RETENTION_DAYS",
    "RUNSTEAD_ARTIFACTS_URL",
    "RUNSTEAD_ARTIFACT_BYTES_MAX",
    "RUNSTEAD_CONNECTIONS_MAX",
    "RUNSTEAD_CONNECTIONS_PER_ADDRESS_MAX",
    "RUNSTEAD_TRUSTED_PROXIES",
    "RUNSTEAD_TLS_CERT",
    "RUNSTEAD_TLS_KEY",
)
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
_NATS: Final = ("nats://", "tls://")
_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")


class SettingError(ValueError):
    """An invalid setting. The message is for the operator."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    host: str = "127.0.0.1"
    port: int = 8720
    processes: int = 1
    database_url: str = "sqlite:///./runstead.db"
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
    connections_max: int | None = None
    connections_per_address_max: int | None = None
    trusted_proxies: tuple[str, ...] | None = None
    tls_cert: str | None = None
    tls_key: str | None = None


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

    def get(name: str) -> str | None:
        assert name in NAMES
        return environment.get(name) or None

    if port is None:
        text = get("RUNSTEAD_PORT") or "8720"
        if not (text.isascii() and text.isdigit()):
            raise SettingError(f"RUNSTEAD_PORT must be a number from 0 to 65535, not {text!r}")
        port = int(text)
    if not 0 <= port <= 65_535:
        raise SettingError(f"The port must be from 0 to 65535, not {port}")
    synchronous = (get("RUNSTEAD_SQLITE_SYNCHRONOUS") or "FULL").upper()
    if synchronous not in _SYNCHRONOUS:
        raise SettingError(
            f"RUNSTEAD_SQLITE_SYNCHRONOUS must be one of {', '.join(_SYNCHRONOUS)}, not {synchronous!r}"
        )
    database = database or get("RUNSTEAD_DATABASE_URL") or "sqlite:///./runstead.db"
    key = get("RUNSTEAD_BOOTSTRAP_KEY")
    if key is not None:
        try:
            check_bootstrap_key(key)
        except ValueError as error:
            raise SettingError(str(error)) from None
    tls_cert, tls_key = tls_cert or get("RUNSTEAD_TLS_CERT"), tls_key or get("RUNSTEAD_TLS_KEY")
    if (tls_cert is None) != (tls_key is None):
        raise SettingError("TLS needs both files: RUNSTEAD_TLS_CERT and RUNSTEAD_TLS_KEY")
    settings = Settings(
        host=host or get("RUNSTEAD_HOST") or "127.0.0.1",
        port=port,
        processes=_processes(processes, get("RUNSTEAD_PROCESSES"), database),
        database_url=database,
        sqlite_synchronous=synchronous,
        notifier=_notifier(get("RUNSTEAD_NOTIFIER")),
        bootstrap_key=key,
        bootstrap_project=get("RUNSTEAD_BOOTSTRAP_PROJECT") or "default",
        jwt_public_key=get("RUNSTEAD_JWT_PUBLIC_KEY"),
        jwks_url=get("RUNSTEAD_JWKS_URL"),
        jwt_issuer=get("RUNSTEAD_JWT_ISSUER"),
        jwt_audience=get("RUNSTEAD_JWT_AUDIENCE"),
        admins=_names(get("RUNSTEAD_ADMINS")),
        projects_per_user_max=_projects_per_user(get("RUNSTEAD_PROJECTS_PER_USER_MAX")),
        quota=_quota(get("RUNSTEAD_QUOTA")),
        cors_origins=_origins(get("RUNSTEAD_CORS_ORIGINS")),
        signing_key_file=get("RUNSTEAD_SIGNING_KEY_FILE"),
        encryption_key=get("RUNSTEAD_ENCRYPTION_KEY"),
        public_url=get("RUNSTEAD_PUBLIC_URL"),
        oidc_issuer=get("RUNSTEAD_OIDC_ISSUER"),
        oidc_client_id=get("RUNSTEAD_OIDC_CLIENT_ID"),
        oidc_client_secret=get("RUNSTEAD_OIDC_CLIENT_SECRET"),
        oidc_name=get("RUNSTEAD_OIDC_NAME"),
        oidc_scopes=get("RUNSTEAD_OIDC_SCOPES") or "openid profile email",
        oidc_user_claim=get("RUNSTEAD_OIDC_USER_CLAIM") or "sub",
        oidc_groups_claim=get("RUNSTEAD_OIDC_GROUPS_CLAIM") or "groups",
        oidc_roles=get("RUNSTEAD_OIDC_ROLES"),
        allow_private_egress=_flag("RUNSTEAD_ALLOW_PRIVATE_EGRESS", get("RUNSTEAD_ALLOW_PRIVATE_EGRESS")),
        retention_days=_days("RUNSTEAD_RETENTION_DAYS", get("RUNSTEAD_RETENTION_DAYS")),
        audit_retention_days=_days("RUNSTEAD_AUDIT_RETENTION_DAYS", get("RUNSTEAD_AUDIT_RETENTION_DAYS"))
        or limits.audit_retention_days_default,
        artifacts_url=_artifacts(get("RUNSTEAD_ARTIFACTS_URL")),
        artifact_bytes_max=_bytes("RUNSTEAD_ARTIFACT_BYTES_MAX", get("RUNSTEAD_ARTIFACT_BYTES_MAX")),
        connections_max=_count("RUNSTEAD_CONNECTIONS_MAX", get("RUNSTEAD_CONNECTIONS_MAX")),
        connections_per_address_max=_count(
            "RUNSTEAD_CONNECTIONS_PER_ADDRESS_MAX", get("RUNSTEAD_CONNECTIONS_PER_ADDRESS_MAX")
        ),
        trusted_proxies=_networks(get("RUNSTEAD_TRUSTED_PROXIES")),
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    openid_of(settings)  # refuses invalid settings
    return settings


def _quota(text: str | None) -> str | None:
    try:
        parse_quota(text or "")
    except ValueError as wrong:
        raise SettingError(
            f"RUNSTEAD_QUOTA must list <name>=<number>, separated by commas, with names of {', '.join(BOUNDS)};"
            f" {str(wrong)!r} is not one"
        ) from None
    return text


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


def _processes(option: int | None, variable: str | None, database: str) -> int:
    text = str(option) if option is not None else variable or "1"
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= limits.processes_max):
        raise SettingError(f"The number of processes must be from 1 to {limits.processes_max}, not {text!r}")
    if int(text) > 1 and not is_postgres(database):
        raise SettingError(
            "Several processes need PostgreSQL (RUNSTEAD_DATABASE_URL=postgresql://...): in SQLite only one process"
            " writes at a time, so the others would only wait for it"
        )
    return int(text)


def _days(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= limits.retention_days_max):
        raise SettingError(f"{name} must be a number from 1 to {limits.retention_days_max}, not {text!r}")
    return int(text)


def _notifier(url: str | None) -> str | None:
    if url is None or url == "memory://" or url.startswith(_NATS):
        return url
    kind, separator, _ = url.partition("://")
    raise SettingError(
        "RUNSTEAD_NOTIFIER must be nats://<host>:<port>, tls://<host>:<port> or memory://, not "
        + (f"{kind}://..." if separator else repr(url))
    )


def _artifacts(url: str | None) -> str | None:
    if url is None:
        return None
    kind, separator, rest = url.partition("://")
    if kind == "s3" and rest and not rest.startswith(("/", "?")):
        return url
    if (kind == "file" and rest.startswith("/") and rest != "/") or not separator:
        return url
    raise SettingError(
        "RUNSTEAD_ARTIFACTS_URL must be a directory, file:///<directory> or s3://<bucket>/<prefix>, not "
        + (f"{kind}://..." if separator else repr(url))
    )


def _bytes(name: str, text: str | None) -> int:
    if text is None:
        return limits.artifact_bytes_max
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= limits.integer_max):
        raise SettingError(f"{name} must be a number of bytes above 0, not {text!r}")
    return int(text)


def _count(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= limits.integer_max):
        raise SettingError(f"{name} must be a number above 0, not {text!r}")
    return int(text)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _projects_per_user(text: str | None) -> int:
    if text == "0":
        return 0
    return _count("RUNSTEAD_PROJECTS_PER_USER_MAX", text) or limits.projects_per_user_max


def is_postgres(url: str) -> bool:
    return url.startswith(("postgresql://", "postgres://"))


def _origins(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    origins = tuple(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise SettingError(
                "RUNSTEAD_CORS_ORIGINS must list origins such as https://app.example.com, separated by commas,"
                f" or be *, not {origin!r}"
            )
    return origins or None


def _networks(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    networks = tuple(network.strip() for network in text.split(",") if network.strip())
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise SettingError(
                "RUNSTEAD_TRUSTED_PROXIES must list addresses such as 127.0.0.1 and networks such as"
                f" 10.0.0.0/8, separated by commas, not {network!r}"
            ) from None
    return networks


def _flag(name: str, text: str | None) -> bool:
    value = (text or "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise SettingError(f"{name} must be true or false, not {text!r}")
    return value in ("true", "1")


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
