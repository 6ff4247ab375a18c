"""Push services: programs of their own to which started agent runs are sent (contract A7)."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from runstead.core import limits

ScopeKind = Literal["global", "project"]


class PushService(msgspec.Struct, frozen=True, kw_only=True):
    """One service. (`registrant`, `service_key`) names it. Times in ms; `metadata` and `capabilities` JSON text.

    `reach` holds the projects whose runs it may get: its own, or for a global one those that its registrant could
    write when it was last heard of. `active` is as of the moment when it was read.
    """

    id: str
    registrant: str
    service_name: str
    service_key: str
    scope_kind: ScopeKind
    base_url: str
    invoke_url: str
    reach: tuple[str, ...]
    project_id: str | None = None
    agent_id: str | None = None
    version: str | None = None
    runtime: str | None = None
    region: str | None = None
    capabilities: bytes | None = None
    metadata: bytes | None = None
    created_at: int = 0
    updated_at: int = 0
    last_heartbeat_at: int = 0
    disabled_at: int | None = None
    active: bool = True

    @property
    def scope_key(self) -> str:
        return "global" if self.project_id is None else f"project:{self.project_id}"


def is_active(disabled_at: int | None, last_heartbeat_at: int, now: int) -> bool:
    """Neither disabled by somebody nor silent for too long."""
    return disabled_at is None and now - last_heartbeat_at <= limits.push_service_silence_s * 1000


def choose(services: Iterable[PushService], agent_id: str | None) -> PushService | None:
    """The active service that gets the runs of an agent: the most specific scope wins (project and agent, project,
    global and agent, global), then the one heard of last. `services` are those that reach the run's project.
    """
    fitting = [one for one in services if one.active and one.agent_id in (None, agent_id)]
    return max(fitting, key=_precedence, default=None)


def _precedence(service: PushService) -> tuple[bool, bool, int, str]:
    specific = service.project_id is not None, service.agent_id is not None
    return (*specific, service.last_heartbeat_at, service.id)
