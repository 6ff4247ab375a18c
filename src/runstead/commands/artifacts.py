"""Storing the artifacts of a run, and reading them."""

from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec

from runstead.commands import locate, runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.core.errors import Error, not_found
from runstead.core.identity.principal import Principal, Scope
from runstead.core.runs import artifact, transitions
from runstead.core.runs.artifact import Content, Stored
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions import Fence
from runstead.ports.artifact_store import Artifacts, TooLargeError
from runstead.ports.store import Written


class NewArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to come. `sha256` (hex) and `length` (bytes) where they were announced."""

    name: str
    media_type: str
    sha256: str | None = None
    length: int | None = None


def _kept(app: App) -> Artifacts:
    if app.artifacts is None:
        raise Error(
            "ARTIFACTS_NOT_KEPT",
            "This server has no place for artifacts: set RUNSTEAD_ARTIFACTS_URL to a directory that all replicas"
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
    """Keep the bytes, then put them on the run's list; what is refused leaves nothing. The same bytes under the same
    name change nothing. ATTEMPT_SUPERSEDED, RUN_NOT_ACTIVE, ARTIFACT_TOO_LARGE, ARTIFACT_MISMATCH,
    ARTIFACT_LIMIT_REACHED, ARTIFACTS_NOT_KEPT.
    """
    run = await locate.run(app, principal, Scope.RUNS_WRITE, run_ref.run_id, run_ref.project)
    kept = _kept(app)
    if new.sha256 is not None:
        there = artifact.find(run.artifacts, new.name)
        if there is not None and (there.sha256, there.media_type) == (new.sha256, new.media_type):
            fence.check(run)
            return Written(run, Transition(run, duplicate=True), before=run), there
    # Decided now with a stand-in, so that nobody sends gigabytes only to be refused; and once more when they are here.
    stand_in = artifact.stored(run.run_id, new.name, new.media_type, Content("", 0, ""))
    transitions.store_artifact(run, now=run.updated_at, new=stand_in, fence=fence)
    if new.length is not None and new.length > app.artifact_bytes_max:
        raise _too_large(app)
    try:
        content = await kept.put(run.uid, chunks, app.artifact_bytes_max)
    except TooLargeError:
        raise _too_large(app) from None
    found = artifact.stored(run.run_id, new.name, new.media_type, content)
    try:
        if new.sha256 is not None and new.sha256 != content.sha256:
            raise Error("ARTIFACT_MISMATCH", f"The bytes that came have the sha256 {content.sha256}")
        written = await runs.apply(
            app,
            principal,
            run_ref,
            lambda run, loaded: transitions.store_artifact(run, now=loaded.now, new=found, fence=fence),
        )
    except Error as refusal:
        # Of a commit that nobody knows the end of, the run may tell: then its bytes stay.
        if refusal.code != "STORE_UNAVAILABLE":
            await _remove(kept, run.uid, content.key)
        raise
    if written.transition.duplicate:
        await _remove(kept, run.uid, content.key)
        return written, artifact.find(written.run.artifacts, new.name) or found
    before = None if written.before is None else artifact.find(written.before.artifacts, new.name)
    if before is not None:
        await _remove(kept, run.uid, before.content_key)
    return written, found


def _too_large(app: App) -> Error:
    return Error("ARTIFACT_TOO_LARGE", f"An artifact has at most {app.artifact_bytes_max} bytes here")


async def _remove(kept: Artifacts, run: str, key: str) -> None:
    with suppress(Error):  # it goes with the run at the latest
        await kept.remove(run, key)


class Reading(msgspec.Struct, frozen=True):
    """An artifact and where its bytes come from: `await anext(reading.bytes(start, end))`."""

    artifact: Stored
    run: str
    kept: Artifacts

    async def bytes(self, start: int, end: int) -> AsyncIterator[bytes]:
        """From `start` to before `end`. NOT_FOUND where the content is gone."""
        try:
            async for chunk in self.kept.read(self.run, self.artifact.content_key, start, end):
                yield chunk
        except FileNotFoundError:
            raise not_found("The artifact's content") from None


async def get(app: App, principal: Principal, run_ref: RunRef, name: str) -> Reading:
    """One that is kept here. NOT_FOUND for one that is only noted."""
    run = await runs.get(app, principal, run_ref)
    found = artifact.find(run.artifacts, name)
    if found is None:
        raise not_found("Artifact")
    return Reading(found, run.uid, _kept(app))
