"""Build records of new projects and API keys."""

import uuid

from runstead.core.clock import now_ms
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import ApiKey, Project, key_prefix, token_hash


def new_project(slug: str, name: str | None, created_by: str | None = None) -> Project:
    """Build a project. Its name is the slug unless one is given."""
    return Project(str(uuid.uuid4()), slug, name or slug, now_ms(), created_by)


def make_key(secret: str, project_id: str, scopes: frozenset[Scope], **members: str | int | None) -> ApiKey:
    """Build the stored record of an API key, which holds only a hash.

    `secret` is the whole key, shown once. `members` are other members of the record, such as its name.
    """
    prefix = key_prefix(secret)
    assert prefix is not None, "malformed API key"
    return ApiKey(
        id=str(uuid.uuid4()),
        project_id=project_id,
        prefix=prefix,
        hash=token_hash(secret),
        scopes=scopes,
        created_at=now_ms(),
        **members,  # type: ignore[arg-type]
    )
