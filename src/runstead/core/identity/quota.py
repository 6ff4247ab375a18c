"""Quotas: how much of the instance a project may use. Without a quota, only the bounds of `core/limits/` apply."""

from collections.abc import Mapping
from typing import Final

import msgspec

from runstead.core import limits


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """The quotas of a project. None: the instance's default, or no quota. Engines store the fields as columns.

    `requests_per_minute`: requests with a credential of the project, at each process. `runs_per_minute`: new runs, at
    each process. `runs_pending`: runs that wait for a worker. `events_per_run` and `event_bytes_per_run`: events in the
    log of one run, and their bytes. `artifact_bytes`: bytes of all stored artifacts. `streams`: open streams, at each
    process.
    """

    project_id: str = ""
    requests_per_minute: int | None = None
    runs_per_minute: int | None = None
    runs_pending: int | None = None
    events_per_run: int | None = None
    event_bytes_per_run: int | None = None
    artifact_bytes: int | None = None
    streams: int | None = None
    keys: int | None = None
    members: int | None = None
    updated_at: int = 0


#: The bound of each quota: a quota cannot raise it.
BOUNDS: Final[Mapping[str, int]] = {
    "requests_per_minute": limits.quota_max,
    "runs_per_minute": limits.quota_max,
    "runs_pending": limits.quota_max,
    "events_per_run": limits.events_per_run_max,
    "event_bytes_per_run": limits.quota_bytes_max,
    "artifact_bytes": limits.quota_bytes_max,
    "streams": limits.streams_per_project_max,
    "keys": limits.keys_per_project_max,
    "members": limits.members_per_project_max,
}


def effective(own: Quota | None, default: Quota) -> Quota:
    """Return a project's quotas, with those of the instance where it has none of its own."""
    if own is None:
        return default
    given = {name: getattr(own, name) for name in BOUNDS if getattr(own, name) is not None}
    return msgspec.structs.replace(default, project_id=own.project_id, **given)


def parse_quota(text: str) -> Quota:
    """Parse `name=number` pairs, separated by commas: the setting RUNSTEAD_QUOTA.

    Raises ValueError with the pair that is not valid.
    """
    given: dict[str, int] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = pair.partition("=")
        most = BOUNDS.get(name)
        if most is None or not (number.isascii() and number.isdigit() and 1 <= int(number) <= most):
            raise ValueError(pair)
        given[name] = int(number)
    return msgspec.convert(given, Quota)
