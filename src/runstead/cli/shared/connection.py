"""Which server a command speaks to, as whom, and about which project; and what it says where that does not work."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, NoReturn

from cyclopts import Parameter

from runstead.cli.shared.output import REFUSED, refuse, tell

if TYPE_CHECKING:
    from runstead.cli.shared.profiles import Profile
    from runstead.sdk import Client, RunsteadError

DEFAULT_URL: Final = "http://127.0.0.1:8720"
UNREACHABLE: Final = 3
#: What the environment may say, beside the server's own settings.
ENVIRONMENT: Final = {
    "url": "RUNSTEAD_URL",
    "key": "RUNSTEAD_KEY",
    "project": "RUNSTEAD_PROJECT",
    "profile": "RUNSTEAD_PROFILE",
}
_QUICK, _PATIENT = 2, 30


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Reach:
    """The options of every command that asks a server."""

    url: Annotated[str | None, Parameter(help="Where the server is; else RUNSTEAD_URL or the profile")] = None
    key: Annotated[str | None, Parameter(help="API key; better in RUNSTEAD_KEY or the profile")] = None
    project: Annotated[str | None, Parameter(help="Slug or id; else RUNSTEAD_PROJECT or the profile")] = None
    profile: Annotated[
        str | None, Parameter(help="Of the config file; else RUNSTEAD_PROFILE or its default")
    ] = None


UNSAID: Final = Reach()


class Said(NamedTuple):
    """A value and who said so: an option, a variable, a profile, or `default`."""

    value: str | None
    source: str

    @property
    def told(self) -> bool:
        """Whether somebody said so."""
        return self.source != "default"


class Place(NamedTuple):
    url: Said
    key: Said
    project: Said
    profile: Said


def resolve(reach: Reach, environment: Mapping[str, str] = os.environ) -> Place:
    """Option, then variable, then profile, then default. A profile that an option names stands before variables: who
    says `--profile prod` means what that says, whatever the shell has been told before.
    """
    from runstead.cli.shared import profiles  # noqa: PLC0415

    try:
        file = profiles.read(environment)
    except profiles.ProfileError as trouble:
        refuse(str(trouble))
    named = _named(reach, environment, file)
    profile = _profile(named, file)
    if profile is not None and file.open_to_others:
        _warn(f"{file.path} holds a key and others can read it: chmod 600 {file.path}")

    def find(member: str, default: str | None) -> Said:
        flag, variable = getattr(reach, member), environment.get(ENVIRONMENT[member])
        of_profile = None if profile is None else getattr(profile, member)
        from_profile = Said(of_profile, f"profile {named.value}") if of_profile else None
        if flag:
            return Said(flag, f"--{member}")
        if reach.profile and from_profile:
            return from_profile
        if variable:
            return Said(variable, ENVIRONMENT[member])
        return from_profile or Said(default, "default")

    return Place(find("url", DEFAULT_URL), find("key", None), find("project", None), named)


@cache  # a command may ask more than once where it goes
def _warn(sentence: str) -> None:
    tell(f"runstead: warning: {sentence}")


def _named(reach: Reach, environment: Mapping[str, str], file: Any) -> Said:
    if reach.profile:
        return Said(reach.profile, "--profile")
    if environment.get(ENVIRONMENT["profile"]):
        return Said(environment[ENVIRONMENT["profile"]], ENVIRONMENT["profile"])
    return Said(file.default, str(file.path)) if file.default else Said(None, "default")


def _profile(named: Said, file: Any) -> "Profile | None":
    if named.value is None:
        return None
    found: Profile | None = file.profiles.get(named.value)
    if found is None:
        known = ", ".join(sorted(file.profiles)) or "none"
        refuse(f"there is no profile {named.value!r} in {file.path}; it has: {known}")
    return found


def shown_url(url: str) -> str:
    """Without a password that somebody put into it."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path


@contextmanager
def connected(reach: Reach, *, project: bool = False, patient: bool = False) -> Iterator["Client"]:
    """A client, and every trouble of it as a sentence and an exit code. `project`: the command needs one; `patient`: it
    outlives a restart of the server.
    """
    from httpx2 import InvalidURL  # noqa: PLC0415

    from runstead.sdk import Client, Retries, RunsteadError  # noqa: PLC0415

    place = resolve(reach)
    url = place.url.value or DEFAULT_URL
    retries = Retries(times=_PATIENT if patient else _QUICK, max_delay_s=5.0 if patient else 1.0)
    try:
        with Client(url, place.key.value, project=place.project.value, retries=retries) as client:
            if project and client.project is None:
                client.project = _only_project(client)
            yield client
    except RunsteadError as error:
        refuse_call(error, url, keyed=place.key.value is not None)
    except InvalidURL:
        refuse(f"{shown_url(url)} is no address of a server: it must be like {DEFAULT_URL}")
    except ValueError as wrong:
        refuse(str(wrong))


def _only_project(client: "Client") -> str:
    """Who reaches one project need not say which."""
    found = client.list_projects().data
    if len(found) == 1:
        return found[0].slug
    if not found:
        raise ValueError("the key reaches no project: ask an admin for one that does")
    slugs = ", ".join(sorted(one.slug for one in found)[:10])
    raise ValueError(
        f"name a project with --project, RUNSTEAD_PROJECT or in the profile; the key reaches: {slugs}"
    )


def refuse_call(error: "RunsteadError", url: str, *, keyed: bool) -> NoReturn:
    from runstead.sdk import NoAnswerError  # noqa: PLC0415

    if isinstance(error, NoAnswerError):
        refuse(
            f"no answer from {shown_url(url)} ({reason(error)}): is the server up (`runstead serve`) and is that where"
            " it is (--url, RUNSTEAD_URL or the profile)?",
            UNREACHABLE,
        )
    refuse(sentence(error, keyed=keyed), REFUSED)


def reason(error: "RunsteadError") -> str:
    """`ConnectError: …`, without the request that it was about."""
    return error.detail.partition(": ")[2] or error.detail


def sentence(error: "RunsteadError", *, keyed: bool = True) -> str:
    told = str(error)
    for one in error.errors[:5]:
        told += f"; {one.path}: {one.message}"
    if error.status == 401:
        told += (
            ": is the key right, and for this server?"
            if keyed
            else ": give a key with RUNSTEAD_KEY, --key or a profile"
        )
    return told


def asks_server(reach: Reach, database: str | None, environment: Mapping[str, str] = os.environ) -> bool:
    """For commands that can do their work on either side: on the store itself, or through a server. Whoever is named
    first decides: options, then variables, then the config file's default profile. Where nobody is, it is the store.
    """
    if database is not None:
        if reach.url or reach.profile or reach.key:
            refuse("--database means the store itself, --url, --key and --profile a server: say one", 2)
        return False
    if reach.url or reach.profile or reach.key:
        return True
    if environment.get("RUNSTEAD_DATABASE_URL"):
        return False
    if environment.get("RUNSTEAD_URL") or environment.get("RUNSTEAD_PROFILE"):
        return True
    return resolve(reach, environment).profile.told
