"""New projects and keys, as they are kept."""

import uuid

from runstead.core.clock import now_ms
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import ApiKey, Project, key_prefix, token_hash


def new_project(slug: str, name: str | None, created_by: str | None = None) -> Project:
    return Project(str(uuid.uuid4()), slug, name or slug, now_ms(), created_by)


def make_key(
    secret: str,
    project_id: str,
    scopes: frozenset[Scope],
    *,
    name: str | None = None,
    expires_at: int | None = None,
    created_by: str | None = None,
) -> ApiKey:
    """The key as it is kept. `secret` is the whole key, shown once."""
    prefix = key_prefix(secret)
    assert prefix is not None, "not a key"
    return ApiKey(
        id=str(uuid.uuid4()),
        project_id=project_id,
        prefix=prefix,
        hash=token_hash(secret),
        scopes=scopes,
        created_at=now_ms(),
        name=name,
        created_by=created_by,
        expires_at=expires_at,
    )
