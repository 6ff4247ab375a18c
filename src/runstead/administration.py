"""What an operator does on the store itself, beside a server or without one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from runstead.commands.projects import make_key, new_project
from runstead.errors import not_found
from runstead.main import make_keyring, make_store
from runstead.principal import DEFAULT_SCOPES, Scope
from runstead.project import ApiKey, Project, check_slug, new_key
from runstead.settings import load
from runstead.store import Store


@asynccontextmanager
async def opened(database: str | None) -> AsyncIterator[Store]:
    store = make_store(load(database=database))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def create_project(database: str | None, slug: str, name: str | None) -> Project:
    check_slug(slug, "a slug")
    async with opened(database) as store:
        return await store.directory.create_project(new_project(slug, name), None, None)


async def projects(database: str | None) -> list[Project]:
    async with opened(database) as store:
        return await store.directory.projects(None)


async def create_key(
    database: str | None, project: str, scopes: list[str], name: str | None
) -> tuple[str, ApiKey]:
    """The secret, shown once, and the key as it is kept."""
    try:
        wanted = frozenset(map(Scope, scopes)) or DEFAULT_SCOPES
    except ValueError:
        raise ValueError(f"a scope is one of {', '.join(Scope)}, not {', '.join(scopes)}") from None
    async with opened(database) as store:
        found = await store.directory.project(project)
        if found is None:
            raise not_found(f"Project {project}")
        secret = new_key()
        return secret, await store.directory.create_key(make_key(secret, found.id, wanted, name=name))


async def signing_keys(database: str | None, *, rotate: bool) -> dict[str, Any]:
    """The public keys of a server with these settings; made now where there are none."""
    settings = load(database=database)
    if rotate and settings.signing_key_file is not None:
        raise ValueError(
            f"the keys are in the file {settings.signing_key_file}: add a pair there with `keys signing --out`"
        )
    async with opened(database) as store:
        keyring = make_keyring(settings, store)
        if rotate:
            await keyring.rotate()
        pems = await keyring.public_pems()
        return {
            "control_plane": pems["EdDSA"],
            "tokens": pems["RS256"],
            "jwks": {"keys": await keyring.jwks()},
        }
