"""Operations on the store itself, for commands that need no running server."""

import getpass
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from runstead.commands import copy_artifacts, secrets as secret_commands
from runstead.commands.check import Progress, check as check_store
from runstead.commands.copy import Advance, copy as copy_store
from runstead.commands.keys import make_key, new_project
from runstead.core.audit import NO_PROJECT, Action, Audit, AuditEntry
from runstead.core.clock import now_ms
from runstead.core.errors import existing
from runstead.core.identity.principal import DEFAULT_SCOPES, Scope
from runstead.core.identity.project import ApiKey, Project, check_slug, new_key
from runstead.core.migration import PendingMigration
from runstead.core.runs.invariants import Violation
from runstead.core.secret import SecretCount
from runstead.ports.artifact_store import Artifacts
from runstead.ports.store import AuditQuery, Identity, Stats, Store
from runstead.security.stored_secrets import SETTING
from runstead.server.engines import encryption_key_file, make_artifacts, make_bulk, make_keyring, make_store
from runstead.server.secrets import examine, open_secrets, prepare
from runstead.server.settings import Settings, load


async def migrate(database: str | None) -> list[str]:
    """Apply migrations. Returns the names of the applied ones."""
    return await make_store(load(database=database)).migrate()


async def pending_migrations(database: str | None) -> list[PendingMigration]:
    """The migrations that `migrate` would apply. Changes nothing. RuntimeError if the store does not exist."""
    return await make_store(load(database=database)).pending()


@asynccontextmanager
async def ready(database: str | None) -> AsyncIterator[Store]:
    """Open an existing store that has all migrations.

    Nothing is created or migrated. ValueError if one is missing.
    """
    store = make_store(load(database=database))
    if pending := await store.pending():
        raise ValueError(
            f"the database lacks {len(pending)} migration(s), first {pending[0].name}: run `runstead db migrate`"
        )
    async with _open(store):
        yield store


async def check(
    database: str | None, report: Callable[[Violation], None], progress: Progress
) -> tuple[int, int]:
    """Check a store.

    Returns the number of checked runs and of violations. `report` gets each violation at once.
    """
    checked, violations = 0, 0

    def note_progress(runs: int, reached: int, newest: int) -> None:
        nonlocal checked
        checked = runs
        progress(runs, reached, newest)

    async with ready(database) as store:
        async for violation in check_store(store, note_progress):
            violations += 1
            report(violation)
    return checked, violations


async def stats(database: str | None) -> Stats:
    async with ready(database) as store:
        return await store.integrity.stats()


class ArtifactUrls(NamedTuple):
    """Where a copy reads and writes artifacts. None: as the server's settings for the database."""

    source: str | None = None
    target: str | None = None
    left_out: bool = False


class Copied(NamedTuple):
    """What was copied: table → number of rows, and the number of artifacts, None if their store is the same."""

    rows: dict[str, int]
    artifacts: int | None


async def copy(source_url: str, target_url: str, advance: Advance, urls: ArtifactUrls) -> Copied:
    """Copy a store and its artifacts. The target is created and migrated if needed.

    ValueError if there are artifacts and no place to read or to write them, unless they are left out.
    """
    source_settings, target_settings = (
        load(os.environ if kept is None else {**os.environ, "RUNSTEAD_ARTIFACTS_URL": kept}, database=url)
        for url, kept in ((source_url, urls.source), (target_url, urls.target))
    )
    if source_url == target_url:
        raise ValueError("the source and the target are the same database")
    if pending := await make_store(source_settings).pending():
        raise ValueError(
            f"the source lacks the migration {pending[0].name}: run `runstead db migrate` on it first"
        )
    await make_store(target_settings).migrate()
    source, target = make_bulk(source_settings.database_url), make_bulk(target_settings.database_url)
    try:
        await source.open_source()
        copied: int | None = 0
        async with AsyncExitStack() as opened_artifacts:
            between, number = None, 0 if urls.left_out else await copy_artifacts.count(source)
            if number:
                between = _artifact_stores(source_settings, target_settings, number)
                copied = None
            for one in between or ():
                await one.open()
                opened_artifacts.push_async_callback(one.close)

            async def with_artifacts() -> None:
                nonlocal copied
                if between is not None:
                    copied = await copy_artifacts.copy(source, *between, advance)

            await target.open_target()
            rows = await copy_store(source, target, advance, with_artifacts)
        return Copied(rows, copied)
    finally:
        await target.close()
        await source.close()


def _artifact_stores(source: Settings, target: Settings, number: int) -> tuple[Artifacts, Artifacts] | None:
    """Return the artifact stores of both. None if they are the same."""
    if source.artifacts_url is not None and source.artifacts_url == target.artifacts_url:
        return None
    reading, writing = make_artifacts(source), make_artifacts(target)
    if reading is None or writing is None:
        which, option = ("source", "from") if reading is None else ("target", "to")
        raise ValueError(
            f"the source has {number:,} artifact(s), and the {which} has no artifact store: name it with"
            f" --artifacts-{option}, or copy without them with --without-artifacts"
        )
    return reading, writing


@asynccontextmanager
async def opened(database: str | None) -> AsyncIterator[Store]:
    async with _open(make_store(load(database=database))) as store:
        yield store


@asynccontextmanager
async def _open(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def create_project(database: str | None, slug: str, name: str | None) -> Project:
    check_slug(slug, "a slug")
    async with opened(database) as store:
        project = new_project(slug, name)
        return await _recording(store, "project.create", project.id).create_project(project, None, None)


async def projects(database: str | None) -> list[Project]:
    async with opened(database) as store:
        return await store.identity.projects(None)


async def create_key(
    database: str | None,
    project: str,
    scopes: list[str],
    name: str | None,
    expires_at: int | None = None,
    rates: Mapping[str, int | None] | None = None,
) -> tuple[str, ApiKey]:
    """Create an API key with the quotas `rates`. Returns the secret, which is shown only once, and the stored key."""
    try:
        wanted = frozenset(map(Scope, scopes)) or DEFAULT_SCOPES
    except ValueError:
        raise ValueError(f"a scope must be one of {', '.join(Scope)}, not {', '.join(scopes)}") from None
    async with opened(database) as store:
        found = await _project(store, project)
        secret = new_key()
        key = make_key(secret, found.id, wanted, name=name, expires_at=expires_at, **(rates or {}))
        return secret, await _recording(store, "key.create", found.id).create_key(key)


async def keys(database: str | None, project: str) -> list[ApiKey]:
    async with ready(database) as store:
        return await store.identity.keys((await _project(store, project)).id)


async def revoke_key(database: str | None, project: str, key_id: str) -> ApiKey:
    async with ready(database) as store:
        found = await _project(store, project)
        return existing(
            await _recording(store, "key.revoke", found.id).revoke_key(found.id, key_id, now_ms()),
            f"Key {key_id}",
        )


async def audit(
    database: str | None, project: str | None, limit: int, **filters: str | int | None
) -> list[AuditEntry]:
    """List entries of the audit log of a project, newest first; without a project those that belong to none.

    `filters` are members of `AuditQuery`.
    """
    async with ready(database) as store:
        project_id = NO_PROJECT if project is None else (await _project(store, project)).id
        return await store.audit.page(
            msgspec.convert({"project_id": project_id, "limit": limit} | filters, AuditQuery)
        )


def _recording(store: Store, action: Action, project_id: str) -> Identity:
    """Projects and keys. Their changes are recorded with the operating system's user as the actor."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no entry for the process's user, as in some containers
        user = str(os.getuid())
    audit = Audit(action=action, actor_kind="operator", actor_id=user, projects=(project_id,))
    return store.recording(audit).identity


async def _project(store: Store, ref: str) -> Project:
    return existing(await store.identity.project(ref), f"Project {ref}")


async def signing_keys(database: str | None, *, rotate: bool, note: Callable[[str], None]) -> dict[str, Any]:
    """Return the public keys of a server with these settings. Keys are created if there are none. `note` gets a
    sentence about a generated encryption key.
    """
    settings = load(database=database)
    if rotate and settings.signing_key_file is not None:
        raise ValueError(
            f"the keys are in the file {settings.signing_key_file}: add a pair there with `keys signing --out`"
        )
    async with opened(database) as store:
        secrets = await open_secrets(settings, store, note)
        keyring = make_keyring(settings, store, secrets)
        if rotate:
            await keyring.rotate()
        pems = await keyring.public_pems()
        return {
            "control_plane": pems["EdDSA"],
            "tokens": pems["RS256"],
            "jwks": {"keys": await keyring.jwks()},
        }


async def secrets(database: str | None) -> list[SecretCount]:
    """Count the secrets of a store by the key that encrypted them."""
    async with ready(database) as store:
        _, counts = await examine(load(database=database), store)
        return counts


async def copy_encryption_key(source_url: str, target_url: str) -> str | None:
    """Give a copied SQLite store the generated key file of its source. Returns a sentence for the operator if the
    servers of the copy need a key that they do not have. None if the copy has no encrypted secret.
    """
    source, target = (load(database=url) for url in (source_url, target_url))
    async with ready(source_url) as store:
        _, counts = await examine(source, store)
    if not any(each.key_id for each in counts):
        return None
    file, beside = encryption_key_file(source), encryption_key_file(target)
    if file is None or not file.exists():
        return f"secrets in the copy are encrypted: its servers need the same {SETTING}"
    if beside is None:
        return f"secrets in the copy are encrypted: set {SETTING}=file:<path> for its servers, to a copy of {file}"
    if not beside.exists():
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copied:
            copied.write(file.read_bytes())
    return f"secrets in the copy are encrypted with the key of {file}, which is also in {beside}"


async def rotate_encryption(
    database: str | None, note: Callable[[str], None]
) -> tuple[int, list[SecretCount]]:
    """Encrypt all secrets with the current key. Returns the number of changed secrets, and the counts afterwards.

    ValueError if there is no key. `note` gets a sentence about a generated key.
    """
    settings = load(database=database)
    async with ready(database) as store:
        opened, _ = await prepare(settings, store, note)
        if opened.current is None:
            raise ValueError(f"there is no encryption key: set {SETTING}")
        changed = await secret_commands.rotate(store, opened)
        return changed, await secret_commands.count(store, opened)
