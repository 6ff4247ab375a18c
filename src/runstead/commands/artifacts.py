"""Artifacts of runs: store and read their bytes."""

from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from msgspec.structs import replace

from runstead.commands import locate, runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.core.errors import Error, existing, not_found
from runstead.core.identity.principal import Principal, Scope
from runstead.core.runs import artifact, transitions
from runstead.core.runs.artifact import Content, Stored
from runstead.core.runs.large_value import digest_of, is_value
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions import Fence
from runstead.ports.artifact_store import Artifacts, TooLargeError
from runstead.ports.store import Written


class NewArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """An upload. `sha256` (hex) and `length` (bytes) are set if the caller announced them."""

    name: str
    media_type: str
    sha256: str | None = None
    length: int | None = None


def _storage(app: App) -> Artifacts:
    if app.artifacts is None:
        raise Error(
            "ARTIFACTS_NOT_KEPT",
            "This server stores no artifacts: set RUNSTEAD_ARTIFACTS_URL to a directory that all replicas"
            " share, or to s3://<bucket>/<prefix>",
        )
    return app.artifacts


async def put(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    new: NewArtifact,
    fence: Fence,
    chunks: AsyncIterator[bytes],
) -> tuple[Written, Stored]:
    """Store the bytes, then add them to the run's list. The same bytes under the same name change nothing.

    A refused upload leaves no bytes behind. Raises ATTEMPT_SUPERSEDED, RUN_NOT_ACTIVE, ARTIFACT_TOO_LARGE,
    ARTIFACT_MISMATCH, ARTIFACT_LIMIT_REACHED (of the run, or the project's quota of bytes), ARTIFACTS_NOT_KEPT.
    """
    run = await locate.run(app, principal, Scope.RUNS_WRITE, run_ref.run_id, run_ref.project)
    storage = _storage(app)
    digest = digest_of(new.name)
    if digest is not None:
        if new.sha256 not in (None, digest):
            raise Error("ARTIFACT_MISMATCH", "The name of a value contains another digest than sha256")
        new = replace(new, sha256=digest)
    if new.sha256 is not None:
        known = artifact.find(run.artifacts, new.name)
        if known is not None and (known.sha256, known.media_type) == (new.sha256, new.media_type):
            fence.check(run)
            return Written(run, Transition(run, duplicate=True), before=run), known
    # Checked with a placeholder before the upload, so that a refused caller sends no bytes.
    placeholder = artifact.stored(run.run_id, new.name, new.media_type, Content("", 0, ""))
    transitions.store_artifact(run, now=run.updated_at, new=placeholder, fence=fence)
    allowed = _bytes_max(app, new.name)
    if new.length is not None and new.length > allowed:
        raise _too_large(allowed)
    left = await _bytes_left(app, run, new.name)
    if left is not None and left < (new.length or 0):
        raise _quota_reached(app, run.project_id)
    most = allowed if left is None else min(allowed, max(left, 0))
    try:
        content = await storage.put(run.uid, chunks, most)
    except TooLargeError:
        raise (_too_large(allowed) if most == allowed else _quota_reached(app, run.project_id)) from None
    found = artifact.stored(run.run_id, new.name, new.media_type, content)
    try:
        if new.sha256 is not None and new.sha256 != content.sha256:
            raise Error("ARTIFACT_MISMATCH", f"The received bytes have the sha256 {content.sha256}")
        left = await _bytes_left(app, run, new.name)  # other uploads may have ended meanwhile
        if left is not None and left < content.size:
            raise _quota_reached(app, run.project_id)
        written = await runs.apply(
            app,
            principal,
            run_ref,
            lambda run, loaded: transitions.store_artifact(run, now=loaded.now, new=found, fence=fence),
        )
    except Error as refusal:
        # The outcome of the commit is unknown: the run may list the artifact, so its bytes stay.
        if refusal.code != "STORE_UNAVAILABLE":
            await _remove(storage, run.uid, content.key)
        raise
    if written.transition.duplicate:
        await _remove(storage, run.uid, content.key)
        return written, artifact.find(written.run.artifacts, new.name) or found
    before = None if written.before is None else artifact.find(written.before.artifacts, new.name)
    if before is not None and before.content_owner is None:
        await _remove(storage, run.uid, before.content_key)
    return written, found


async def _bytes_left(app: App, run: Run, name: str) -> int | None:
    """Return how many bytes the project may store under this name. None: it has no quota."""
    most = app.quotas.of(run.project_id).artifact_bytes
    if most is None:
        return None
    replaced = artifact.find(run.artifacts, name)
    stored = await app.store.quotas.artifact_bytes(run.project_id)
    return most - stored + (0 if replaced is None else replaced.size)


def _quota_reached(app: App, project_id: str) -> Error:
    most = app.quotas.of(project_id).artifact_bytes or 0
    return Error(
        "ARTIFACT_LIMIT_REACHED",
        f"The project's artifacts may have {most:,} bytes together: delete runs with artifacts that are not needed",
    )


def _bytes_max(app: App, name: str) -> int:
    """Return how many bytes an artifact with this name may have."""
    return min(app.artifact_bytes_max, app.value_bytes_max) if is_value(name) else app.artifact_bytes_max


def _too_large(bytes_max: int) -> Error:
    return Error("ARTIFACT_TOO_LARGE", f"Such an artifact has at most {bytes_max} bytes on this server")


async def _remove(storage: Artifacts, run_uid: str, key: str) -> None:
    with suppress(Error):  # the bytes are removed with the run at the latest
        await storage.remove(run_uid, key)


class Reading(msgspec.Struct, frozen=True):
    """An artifact whose bytes can be read: `async for chunk in reading.bytes(start, end)`."""

    artifact: Stored
    run_uid: str  # of the run that stored it
    storage: Artifacts

    async def bytes(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to before `end`. Raises NOT_FOUND if the content was removed."""
        try:
            async for chunk in self.storage.read(self.run_uid, self.artifact.content_key, start, end):
                yield chunk
        except FileNotFoundError:
            raise not_found("The artifact's content") from None


async def get(app: App, principal: Principal, run_ref: RunRef, name: str) -> Reading:
    """Return an artifact that this server stores.

    Raises NOT_FOUND for one that only has an entry in the run.
    """
    return of_run(app, await runs.get(app, principal, run_ref), name)


def of_run(app: App, run: Run, name: str) -> Reading:
    """Return an artifact of a run. Raises NOT_FOUND."""
    found = existing(artifact.find(run.artifacts, name), "Artifact")
    return Reading(found, found.content_owner or run.uid, _storage(app))
