"""What may be done with a run's record, whatever its state: naming it, and deleting it once it is over."""

from collections.abc import Mapping

import msgspec

from runstead.errors import Error
from runstead.run import Run
from runstead.transition import Transition
from runstead.transitions.machine import rewrite


class Seen(msgspec.Struct, frozen=True):
    """At which versions the caller has seen the run; `any`: it does not matter."""

    versions: frozenset[int] = frozenset()
    any: bool = False


def rename(run: Run, *, now: int, names: Mapping[str, str | bytes | None], seen: Seen | None) -> Transition:
    """Set `title` and `labels`, those that are given. Nobody overwrites what they have not read: PRECONDITION_REQUIRED
    without `seen`, PRECONDITION_FAILED at another version.
    """
    assert names.keys() <= {"title", "labels"}, names
    if seen is None:
        raise Error(
            "PRECONDITION_REQUIRED", "Send If-Match with the ETag of the run as you have read it, or with *"
        )
    if not seen.any and run.version not in seen.versions:
        raise Error("PRECONDITION_FAILED", "The run has changed since it was read: read it again")
    if all(getattr(run, name) == value for name, value in names.items()):
        return Transition(run, duplicate=True)
    return Transition(rewrite(run, now, **names))


def delete(run: Run) -> Transition:
    """Remove the run with all that belongs to it. RUN_NOT_TERMINAL, RUN_HAS_CHILDREN."""
    if not run.terminal:
        raise Error("RUN_NOT_TERMINAL", f"Only a run that has ended can be deleted: it is {run.status.value}")
    if run.descendants_total:
        raise Error("RUN_HAS_CHILDREN", "The run has runs below it: delete those first")
    return Transition(run, deletes=True, family_total=-1)
