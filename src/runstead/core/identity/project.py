"""Projects, their members and their API keys."""

import hashlib
import re
import secrets
import uuid
from functools import lru_cache
from typing import Final

import msgspec

from runstead.core import limits
from runstead.core.identity.principal import Role, Scope

_PERSONAL: Final = uuid.UUID("6f1c1f3e-6a0b-4a53-9d5c-0d7f5b6a2a11")
_KEY_PREFIX: Final = "vf_"

#: Lower-case letters, digits and inner hyphens.
SLUG: Final = r"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$"


class Project(msgspec.Struct, frozen=True):
    """A project, to which all other records belong.

    `personal_of` is set for the personal project of a user. With `require_attempt`, workers must send `attempt` or
    `X-Lease-Token` with every write. A search reads the inputs and outputs of runs that were created after
    `search_values_since` (ms); None: of no runs.
    """

    id: str
    slug: str
    name: str
    created_at: int
    created_by: str | None = None
    personal_of: str | None = None
    require_attempt: bool = False
    search_values_since: int | None = None

    @property
    def search_values(self) -> bool:
        return self.search_values_since is not None

    def searching_values(self, now: int, *, search: bool) -> "Project":
        """Return the project with the setting, which holds for runs that are created a second later."""
        if search is self.search_values:
            return self
        since = now + limits.search_values_delay_ms if search else None
        return msgspec.structs.replace(self, search_values_since=since)


class Member(msgspec.Struct, frozen=True):
    project_id: str
    user_id: str
    role: Role
    created_at: int


class RemovedMember(msgspec.Struct, frozen=True):
    """A user who was removed from a project, as a member or not. Until the user becomes a member again, neither a claim
    of a token nor a group of an OpenID provider gives access to the project.
    """

    project_id: str
    user_id: str
    removed_at: int


class ApiKey(msgspec.Struct, frozen=True):
    """An API key as it is stored: only the SHA-256 of its secret (256 random bits need no slow hash).

    `requests_per_minute` and `runs_per_minute` bound what is sent and created with the key, at each process. None: only
    the quotas of the project apply.
    """

    id: str
    project_id: str
    prefix: str
    hash: bytes
    scopes: frozenset[Scope]
    created_at: int
    name: str | None = None
    created_by: str | None = None
    last_used_at: int | None = None
    expires_at: int | None = None
    revoked_at: int | None = None
    requests_per_minute: int | None = None
    runs_per_minute: int | None = None

    def is_valid(self, now: int) -> bool:
        """Whether the key is neither revoked nor expired at `now` (ms)."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


def check_slug(slug: str, what: str) -> None:
    """ValueError with a message for the operator if `slug` is invalid.

    `what` names the value in the message.
    """
    if not re.fullmatch(SLUG, slug) or len(slug) > limits.slug_chars_max:
        raise ValueError(
            f"{what} must have 1 to {limits.slug_chars_max} lower-case letters, digits and inner hyphens, not {slug!r}"
        )


def new_key() -> str:
    """Return a new key `vf_<prefix>_<secret>`: eight characters that identify the key, and 256 random bits."""
    return f"{_KEY_PREFIX}{secrets.token_hex(4)}_{secrets.token_hex(32)}"


def key_prefix(key: str) -> str | None:
    """Return the prefix of a well-formed key, None for any other text."""
    if not key.startswith(_KEY_PREFIX):
        return None
    prefix, separator, secret = key[len(_KEY_PREFIX) :].partition("_")
    return prefix if prefix and separator and secret else None


def check_bootstrap_key(key: str) -> None:
    """ValueError with a message for the operator if the key is malformed or can be guessed.

    It administers the whole instance, so its secret must be random. Only its length and the number of different
    characters can be checked.
    """
    secret = key[len(_KEY_PREFIX) :].partition("_")[2] if key_prefix(key) else ""
    different = limits.bootstrap_secret_different_chars_min
    long = len(secret) >= limits.bootstrap_secret_chars_min and len(set(secret)) >= different
    if not long or not secret.isascii() or not secret.isprintable():
        raise ValueError(
            f"RUNSTEAD_BOOTSTRAP_KEY must be vf_<prefix>_<secret>, where the secret has at least"
            f" {limits.bootstrap_secret_chars_min} random characters: `runstead keys generate` makes one, and so does"
            " echo vf_local_$(openssl rand -hex 32)"
        )


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


@lru_cache(1_024)
def user_uuid(user_id: str) -> str:
    """Return the UUID of a user for `created_by`: the id itself if it is a UUID."""
    try:
        return str(uuid.UUID(user_id))
    except ValueError:
        return str(uuid.uuid5(_PERSONAL, user_id))


def personal_project(user_id: str, now: int) -> Project:
    """Return the personal project of a user, for conversations without a project.

    Its id is derived from the user id.
    """
    project_id = uuid.uuid5(_PERSONAL, f"project:{user_id}")
    return Project(
        id=str(project_id),
        slug=f"personal-{project_id.hex[:16]}",
        name="Personal",
        created_at=now,
        created_by=user_uuid(user_id),
        personal_of=user_id,
    )
