"""Resolves which server, key and project a command uses, and reports connection errors."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, NoReturn

from cyclopts import Parameter

from runstead.cli.shared.exit_codes import REFUSED, UNREACHABLE, USAGE
from runstead.cli.shared.output import fail, write_err

if TYPE_CHECKING:
    from runstead.cli.shared.profiles import Profile
    from runstead.sdk import Client, RunsteadError
    from runstead.sdk.models.value import Codec

DEFAULT_URL: Final = "http://127.0.0.1:8720"
#: Environment variables of the CLI, beside the server's own settings.
ENVIRONMENT: Final = {
    "url": "RUNSTEAD_URL",
    "key": "RUNSTEAD_KEY",
    "project": "RUNSTEAD_PROJECT",
    "profile": "RUNSTEAD_PROFILE",
    "codec": "RUNSTEAD_CODEC",
}
_RETRIES: Final = 2
_RETRIES_PATIENT: Final = 30


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The connection options of every command that calls a server."""

    url: Annotated[str | None, Parameter(help="Server URL; else RUNSTEAD_URL or the profile")] = None
    key: Annotated[str | None, Parameter(help="API key; better in RUNSTEAD_KEY or the profile")] = None
    project: Annotated[str | None, Parameter(help="Slug or id; else RUNSTEAD_PROJECT or the profile")] = None
    profile: Annotated[
        str | None, Parameter(help="Profile of the config file; else RUNSTEAD_PROFILE or its default")
    ] = None


NO_OPTIONS: Final = ServerOptions()


class Setting(NamedTuple):
    """A value with its source: an option, a variable, a profile, or `default`."""

    value: str | None
    source: str

    @property
    def is_set(self) -> bool:
        """Whether the value was configured."""
        return self.source != "default"


class Destination(NamedTuple):
    """The server that a command calls, with the credentials that it uses."""

    url: Setting
    key: Setting
    project: Setting
    profile: Setting


def resolve(server: ServerOptions, environment: Mapping[str, str] = os.environ) -> Destination:
    """Resolve each setting: option, then variable, then profile, then default.

    A profile that is named with `--profile` takes precedence over variables, so that a forgotten variable
    cannot redirect the command.
    """
    from runstead.cli.shared import profiles  # noqa: PLC0415

    try:
        file = profiles.read(environment)
    except profiles.ProfileError as error:
        fail(str(error))
    named = _profile_setting(server, environment, file)
    profile = _profile(named, file)
    if profile is not None and file.readable_by_others:
        _warn(f"{file.path} holds a key and others can read it: chmod 600 {file.path}")

    def find(member: str, default: str | None) -> Setting:
        flag, variable = getattr(server, member), environment.get(ENVIRONMENT[member])
        of_profile = None if profile is None else getattr(profile, member)
        from_profile = Setting(of_profile, f"profile {named.value}") if of_profile else None
        if flag:
            return Setting(flag, f"--{member}")
        if server.profile and from_profile:
            return from_profile
        if variable:
            return Setting(variable, ENVIRONMENT[member])
        return from_profile or Setting(default, "default")

    return Destination(
        url=find("url", DEFAULT_URL), key=find("key", None), project=find("project", None), profile=named
    )


@cache  # a command may resolve more than once
def _warn(message: str) -> None:
    write_err(f"runstead: warning: {message}")


def _profile_setting(server: ServerOptions, environment: Mapping[str, str], file: Any) -> Setting:
    if server.profile:
        return Setting(server.profile, "--profile")
    if environment.get(ENVIRONMENT["profile"]):
        return Setting(environment[ENVIRONMENT["profile"]], ENVIRONMENT["profile"])
    return Setting(file.default, str(file.path)) if file.default else Setting(None, "default")


def _profile(named: Setting, file: Any) -> "Profile | None":
    if named.value is None:
        return None
    found: Profile | None = file.profiles.get(named.value)
    if found is None:
        known = ", ".join(sorted(file.profiles)) or "none"
        fail(f"there is no profile {named.value!r} in {file.path}; it has: {known}")
    return found


def shown_url(url: str) -> str:
    """The URL without a password."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path


@contextmanager
def connected(server: ServerOptions, *, project: bool = False, patient: bool = False) -> Iterator["Client"]:
    """A client for the server. Its errors end the program with a message and an exit code.

    `project`: the command needs a project. `patient`: retry long enough to outlast a restart of the server.
    """
    from httpx2 import InvalidURL  # noqa: PLC0415

    from runstead.sdk import Client, Retries, RunsteadError  # noqa: PLC0415

    destination = resolve(server)
    url = destination.url.value or DEFAULT_URL
    retries = Retries(times=_RETRIES_PATIENT if patient else _RETRIES, max_delay_s=5.0 if patient else 1.0)
    try:
        with Client(
            url, destination.key.value, project=destination.project.value, retries=retries, codec=_codec()
        ) as client:
            if project and client.project is None:
                client.project = _only_project(client)
            yield client
    except RunsteadError as error:
        fail_call(error, url, keyed=destination.key.value is not None)
    except InvalidURL:
        fail(f"{shown_url(url)} is not a server URL: write it like {DEFAULT_URL}")
    except ValueError as error:
        fail(str(error))


def _codec(environment: Mapping[str, str] = os.environ) -> "Codec | None":
    """The codec that RUNSTEAD_CODEC names, such as `jobs:codec`. ValueError."""
    reference = environment.get(ENVIRONMENT["codec"])
    if not reference:
        return None
    from runstead.cli.shared.app_loader import load_object  # noqa: PLC0415

    found: Codec = load_object(reference)
    if not (hasattr(found, "encode") and hasattr(found, "decode")) or isinstance(found, str | type):
        raise ValueError(f"RUNSTEAD_CODEC: {reference} is no codec: it needs encode(data) and decode(data)")
    return found


def _only_project(client: "Client") -> str:
    """The project of a key that has access to exactly one. ValueError."""
    found = client.projects.list().data
    if len(found) == 1:
        return found[0].slug
    if not found:
        raise ValueError("the key has access to no project: ask an admin for another key")
    slugs = ", ".join(sorted(one.slug for one in found)[:10])
    raise ValueError(
        f"name a project with --project, RUNSTEAD_PROJECT or in the profile; the key has access to: {slugs}"
    )


def fail_call(error: "RunsteadError", url: str, *, keyed: bool) -> NoReturn:
    from runstead.sdk import NoAnswerError  # noqa: PLC0415

    if isinstance(error, NoAnswerError):
        fail(
            f"no response from {shown_url(url)} ({reason(error)}): is the server running (`runstead serve`), and is the"
            " URL right (--url, RUNSTEAD_URL or the profile)?",
            UNREACHABLE,
        )
    fail(describe(error, keyed=keyed), REFUSED)


def reason(error: "RunsteadError") -> str:
    """The cause of the error, such as `ConnectError: …`, without the request."""
    return error.detail.partition(": ")[2] or error.detail


def describe(error: "RunsteadError", *, keyed: bool = True) -> str:
    """The error in one line, with the invalid members of the request. `keyed`: a key was sent."""
    text = str(error)
    for one in error.errors[:5]:
        if one.message not in error.detail:
            text += f"; {one.path}: {one.message}"
    if error.status == 401:
        text += (
            ": is the key right, and for this server?"
            if keyed
            else ": set a key with RUNSTEAD_KEY, --key or a profile"
        )
    return text


def uses_server(
    server: ServerOptions, database: str | None, environment: Mapping[str, str] = os.environ
) -> bool:
    """Whether a command that works on a store or through a server should use the server.

    Decided by options, then variables, then the config file's default profile; otherwise it uses the store.
    """
    if database is not None:
        if server.url or server.profile or server.key:
            fail("--database means a store; --url, --key and --profile mean a server: use one of them", USAGE)
        return False
    if server.url or server.profile or server.key:
        return True
    if environment.get("RUNSTEAD_DATABASE_URL"):
        return False
    if environment.get("RUNSTEAD_URL") or environment.get("RUNSTEAD_PROFILE"):
        return True
    return resolve(server, environment).profile.is_set
