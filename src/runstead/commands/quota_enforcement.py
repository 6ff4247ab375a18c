"""Applies the quotas of projects and API keys to requests and new runs. Each process counts for itself."""

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


class _Rate(NamedTuple):
    """A rate of an API key or of a project: its owner, the owner's id, and the number per minute."""

    owner: str
    id: str
    per_minute: int


def _take(buckets: TokenBuckets, rates: list[_Rate], count: int, verb: str, what: str) -> Allowance:
    """Take `count` of every rate, or of none. Returns the smallest allowance. Raises RATE_LIMITED."""
    names = [f"{rate.owner}:{rate.id}" for rate in rates]
    tokens = [
        buckets.tokens(name, rate.per_minute, rate.per_minute / 60)
        for name, rate in zip(names, rates, strict=True)
    ]
    for rate, left in zip(rates, tokens, strict=True):
        if left < count:
            more = f", and {count:,} at once are more" if count > rate.per_minute else f": {verb} fewer"
            raise Error(
                "RATE_LIMITED",
                f"The {rate.owner} may {verb} {rate.per_minute:,} {what} per minute at this process{more}",
                retry_after_s=max(1, math.ceil((count - left) * 60 / rate.per_minute)),
            )
    for name, left in zip(names, tokens, strict=True):
        buckets.set(name, left - count)
    allowances = (
        Allowance(
            rate.per_minute,
            int(left - count),
            math.ceil((rate.per_minute - left + count) * 60 / rate.per_minute),
        )
        for rate, left in zip(rates, tokens, strict=True)
    )
    return min(allowances, key=lambda allowance: allowance.remaining)


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
        self._runs = TokenBuckets(limits.quota_projects_max, clock)
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
        """Count a request of an API key, and of its project. A caller with several projects counts for none of them.

        Returns the smaller allowance; None: no quota. Raises RATE_LIMITED.
        """
        rates = []
        if principal.requests_per_minute is not None:
            rates.append(_Rate("key", principal.id, principal.requests_per_minute))
        if len(principal.grants) == 1:
            [project_id] = principal.grants
            per_minute = self.of(project_id).requests_per_minute
            if per_minute is not None:
                rates.append(_Rate("project", project_id, per_minute))
        if not rates:
            return None
        return _take(self._requests, rates, 1, "send", "requests")

    async def refuse_more_runs(
        self, project_id: str, new: int = 1, principal: Principal | None = None
    ) -> Error | None:
        """Return the refusal of `new` more runs. None: they are within the quotas, and now count.

        `principal`: the caller that creates them, whose API key may have a quota.
        """
        quota = self.of(project_id)
        rates = []
        if principal is not None and principal.runs_per_minute is not None:
            rates.append(_Rate("key", principal.id, principal.runs_per_minute))
        if quota.runs_per_minute is not None:
            rates.append(_Rate("project", project_id, quota.runs_per_minute))
        refusal = (
            None
            if quota.runs_pending is None
            else await self._refuse_pending(project_id, new, quota.runs_pending)
        )
        if refusal is None and rates:
            try:
                _take(self._runs, rates, new, "create", "runs")
            except Error as refused:
                return refused
        return refusal

    async def _refuse_pending(self, project_id: str, new: int, most: int) -> Error | None:
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
