"""Push services: external programs that receive started agent runs (contract A7)."""

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec.structs import replace

from runstead.core import limits

ScopeKind = Literal["global", "project"]


class PushService(msgspec.Struct, frozen=True, kw_only=True):
    """One service, identified by (`registrant`, `service_key`). Times in ms; `metadata` and `capabilities`
    are JSON text.

    `reach` holds the projects whose runs it may receive: its own project, or for a global service the
    projects that its registrant could write at the last heartbeat. `last_success_…` and `last_error…` are of
    the last calls that the service accepted and did not. `active` was computed when the service was read.
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
    last_success_at: int | None = None
    last_success_run_id: str | None = None
    last_error_at: int | None = None
    last_error_run_id: str | None = None
    last_error: str | None = None
    active: bool = True

    @property
    def scope_key(self) -> str:
        return "global" if self.project_id is None else f"project:{self.project_id}"


def without_run_ids(service: PushService) -> PushService:
    """The service as its readers see it: a global service may have had runs of projects that they cannot read."""
    if service.project_id is not None:
        return service
    return replace(service, last_success_run_id=None, last_error_run_id=None)


def is_active(disabled_at: int | None, last_heartbeat_at: int, now: int) -> bool:
    """Whether the service is enabled and its last heartbeat is recent. Times in ms."""
    return disabled_at is None and now - last_heartbeat_at <= limits.push_service_silence_s * 1000


def choose(services: Iterable[PushService], agent_id: str | None) -> PushService | None:
    """Choose the active service for an agent's run among `services`, which all reach the run's project.

    The most specific scope wins: project and agent, project, global and agent, global. Then the latest
    heartbeat wins.
    """
    matching = [service for service in services if service.active and service.agent_id in (None, agent_id)]
    return max(matching, key=_precedence, default=None)


def _precedence(service: PushService) -> tuple[bool, bool, int, str]:
    specific = service.project_id is not None, service.agent_id is not None
    return (*specific, service.last_heartbeat_at, service.id)
