"""Changes of a run's record: rename it, add an artifact, delete it."""

from collections.abc import Mapping

import msgspec

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.artifact import Stored, decode_artifacts, find, stored_bytes, with_stored
from runstead.core.runs.event import artifact_stored
from runstead.core.runs.large_value import is_value
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions.machine import Fence, log_full, not_active, rewrite


class IfMatch(msgspec.Struct, frozen=True):
    """The run versions of an If-Match header (RFC 9110, 13.1.1). `any` stands for `*`."""

    versions: frozenset[int] = frozenset()
    any: bool = False


def rename(
    run: Run, *, now: int, names: Mapping[str, str | bytes | None], if_match: IfMatch | None
) -> Transition:
    """Set `title`, `labels` or both. A caller cannot overwrite a version that it has not read:
    PRECONDITION_REQUIRED without `if_match`, PRECONDITION_FAILED at another version.
    """
    assert names.keys() <= {"title", "labels"}, names
    if if_match is None:
        raise Error(
            "PRECONDITION_REQUIRED", "Send If-Match with the ETag of the run that you have read, or with *"
        )
    if not if_match.any and run.version not in if_match.versions:
        raise Error("PRECONDITION_FAILED", "The run has changed since it was read: read it again")
    if all(getattr(run, name) == value for name, value in names.items()):
        return Transition(run, duplicate=True)
    return Transition(rewrite(run, now, **names))


def store_artifact(run: Run, *, now: int, new: Stored, fence: Fence) -> Transition:
    """Add an artifact, whose content is already stored, to the run's list. An artifact with the same name is
    replaced.

    No event reports a large value: the event or the output that refers to it does.

    `duplicate`: the list already has the same bytes under the same name. RUN_NOT_ACTIVE,
    ARTIFACT_LIMIT_REACHED.
    """
    fence.check(run)
    if run.terminal:
        raise not_active(run)
    same = find(run.artifacts, new.name)
    if same is not None and (same.sha256, same.media_type) == (new.sha256, new.media_type):
        return Transition(run, duplicate=True)
    if same is None and len(decode_artifacts(run.artifacts)) >= limits.artifacts_max:
        raise Error("ARTIFACT_LIMIT_REACHED", f"A run has at most {limits.artifacts_max} artifacts")
    artifacts = with_stored(run.artifacts, new)
    changes: dict[str, object] = {"artifacts": artifacts, "artifact_bytes": stored_bytes(artifacts)}
    if is_value(new.name) or log_full(run):
        return Transition(rewrite(run, now, **changes))
    changes["latest_event_id"] = run.latest_event_id + 1
    return Transition(rewrite(run, now, **changes), events=(artifact_stored(new),))


def delete(run: Run) -> Transition:
    """Delete the run with everything that belongs to it. RUN_NOT_TERMINAL, RUN_HAS_CHILDREN."""
    if not run.terminal:
        raise Error("RUN_NOT_TERMINAL", f"Only a run that has ended can be deleted: it is {run.status.value}")
    if run.descendants_total:
        raise Error("RUN_HAS_CHILDREN", "The run has descendants: delete those first")
    return Transition(run, deletes=True, family_total=-1)
