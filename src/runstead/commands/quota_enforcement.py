"""Applies the quotas of projects to requests and new runs. Each process counts for itself."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from runstead.core import limits
from runstead.core.clock import elapsed_s
from runstead.core.errors import Error
from runstead.core.identity.principal import Principal
from runstead.core.identity.quota import Quota, effective
from runstead.core.token_buckets import TokenBuckets
from runstead.ports.store import Store


class Allowance(NamedTuple):
    """What is left of a caller's requests: `remaining` of `limit`, and all of them after `reset_s` seconds."""

    limit: int
    remaining: int
    reset_s: int


class ProjectQuotas:
    """The quotas that this process knows. A loop reads changes every `limits.quota_poll_s` seconds.

    Requests are counted by each process, and pending runs at most once a second, so a burst may exceed the quota of
    pending runs by what is created within that second.
    """

    def __init__(self, store: Store, default: Quota, clock: Callable[[], float] = elapsed_s) -> None:
        """`clock` in seconds."""
        self._store = store
        self._clock = clock
        self._default = default
        self._own: dict[str, Quota] = {}
        self._effective: dict[str, Quota] = {}
        self._seen_at = 0
        self._pending: OrderedDict[str, tuple[float, int]] = OrderedDict()  # project → (time, count)
        self._requests = TokenBuckets(limits.quota_projects_max, clock)
        self.limit_requests = default.requests_per_minute is not None

    def of(self, project_id: str) -> Quota:
        return self._effective.get(project_id, self._default)

    def own(self, project_id: str) -> Quota:
        """Return the quotas that were set for the project."""
        return self._own.get(project_id) or Quota(project_id=project_id)

    def keep(self, quota: Quota) -> None:
        """Apply a stored quota in this process."""
        self._own[quota.project_id] = quota
        self._effective[quota.project_id] = effective(quota, self._default)
        self.limit_requests = self.limit_requests or quota.requests_per_minute is not None

    async def refresh(self) -> int:
        """Read the quotas that changed. Returns their number."""
        changed = await self._store.quotas.changed_since(self._seen_at)
        for quota in changed:
            self.keep(quota)
            # Another process may still commit a quota with an earlier time.
            self._seen_at = max(self._seen_at, quota.updated_at - limits.quota_overlap_ms)
        return len(changed)

    def take_request(self, principal: Principal) -> Allowance | None:
        """Count a request of a caller with one project. None: no quota. Raises RATE_LIMITED."""
        if len(principal.grants) != 1:  # a user of several projects: the request may be for any of them
            return None
        [project_id] = principal.grants
        per_minute = self.of(project_id).requests_per_minute
        if per_minute is None:
            return None
        tokens = self._requests.tokens(project_id, per_minute, per_minute / 60)
        if tokens < 1:
            raise Error(
                "RATE_LIMITED",
                f"The project may send {per_minute:,} requests per minute to this process: send fewer",
                retry_after_s=max(1, math.ceil((1 - tokens) * 60 / per_minute)),
            )
        left = tokens - 1
        self._requests.set(project_id, left)
        return Allowance(per_minute, int(left), math.ceil((per_minute - left) * 60 / per_minute))

    async def refuse_more_runs(self, project_id: str, new: int = 1) -> Error | None:
        """Return the refusal of `new` more pending runs. None: they are within the quota, and now count."""
        most = self.of(project_id).runs_pending
        if most is None:
            return None
        now = self._clock()
        at, count = self._pending.get(project_id, (-math.inf, 0))
        if now - at >= limits.quota_count_s:
            at, count = now, await self._store.quotas.runs_pending(project_id, most)
        full = count + new > most
        self._pending[project_id] = at, count if full else count + new
        self._pending.move_to_end(project_id)
        if len(self._pending) > limits.quota_projects_max:
            self._pending.popitem(last=False)
        if not full:
            return None
        return Error(
            "QUOTA_REACHED",
            f"The project may have {most:,} pending runs: create more when workers have claimed some",
            retry_after_s=limits.quota_retry_s,
        )
