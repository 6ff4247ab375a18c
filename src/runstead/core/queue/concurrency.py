"""Concurrency limits: how many runs of a project, or of one of its targets, may run at a time."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from runstead.core.queue.rate import BucketName, Rate, bucket_of
from runstead.core.runs.run import Run


class ConcurrencyLimit(msgspec.Struct, frozen=True):
    """The limit of a target, or of the whole project if `target` is None.

    A limit of 0 holds back all its runs, None is no limit. `max_running_per_key` counts the runs of each concurrency key
    of the target. `rate` bounds how many start in a time, or the tokens that they use.
    """

    target: str | None
    max_running: int | None = None
    max_running_per_key: int | None = None
    rate: Rate | None = None

    @property
    def limits_anything(self) -> bool:
        """Whether it has any limit."""
        return (self.max_running, self.max_running_per_key, self.rate) != (None, None, None)


def rated_targets(
    limits: Iterable[ConcurrencyLimit], kinds: Sequence[str], targets: Sequence[str]
) -> list[str | None]:
    """Return the targets whose rates may hold back a claim of these kinds, and of these targets if there are any."""
    return [
        one.target
        for one in limits
        if one.rate is not None
        and (
            one.target is None
            or (one.target in targets if targets else one.target.partition(":")[0] in kinds)
        )
    ]


class Occupancy(msgspec.Struct, frozen=True):
    """A limit and how many runs count for it now. The count stops at `limits.running_counted_max`.

    `rate_left`: how many tokens the bucket of its rate has now; None where that was not asked for, without a rate, and
    for a rate of each key. Negative if runs used more tokens of models.
    """

    limit: ConcurrencyLimit
    running: int
    rate_left: int | None = None


class Turn(NamedTuple):
    """A concurrency key of a target whose turn it is, and how many of its runs are running."""

    target: str
    key: str
    running: int


class ConcurrencySlots:
    """The free slots by (project, target), where the target None stands for the whole project. A token of a rate counts
    as a slot: a claim takes both. A run uses at least one token of a model, so a claim starts no more runs than there are
    tokens.

    A pair that is not in `slots` has no limit.
    """

    def __init__(self, occupancies: Iterable[tuple[str, Occupancy]] = ()) -> None:
        """`occupancies`: (project id, limit with the runs that count for it)."""
        self._slots: dict[tuple[str, str | None], int] = {}
        self._per_key: dict[tuple[str, str], int] = {}
        self._of_keys: dict[
            tuple[str, str, str], int
        ] = {}  # the key '': runs without one, if a rate counts them
        self.rates: dict[tuple[str, str], Rate] = {}  # by (project, target), '' for the whole project
        for project_id, one in occupancies:
            limit = one.limit
            if limit.max_running is not None:
                self._slots[project_id, limit.target] = limit.max_running - one.running
            if limit.max_running_per_key is not None and limit.target is not None:
                self._per_key[project_id, limit.target] = limit.max_running_per_key
            if limit.rate is not None:
                self.rates[project_id, limit.target or ""] = limit.rate

    @classmethod
    def from_occupancies(cls, project_id: str, occupancies: Iterable[Occupancy]) -> "ConcurrencySlots":
        """The slots that the limits of one project leave free."""
        return cls((project_id, one) for one in occupancies)

    def per_key(self, project_id: str, target: str) -> int | None:
        """How many runs of each concurrency key of the target may run, None without a limit."""
        return self._per_key.get((project_id, target))

    def rate_per_key(self, project_id: str, target: str) -> bool:
        """Whether a rate counts the runs of each concurrency key of the target."""
        rate = self.rates.get((project_id, target))
        return rate is not None and rate.per_key

    def note_running(self, project_id: str, turn: Turn, tokens: int | None = None) -> int | None:
        """Note how many runs of a key were running before any slot was taken, and how many tokens its bucket had.
        Return how many more may start now.
        """
        most = self.per_key(project_id, turn.target)
        free = [tokens] if tokens is not None else []
        if most is not None:
            free.append(most - turn.running)
        if not free:
            return None
        return self._of_keys.setdefault((project_id, turn.target, turn.key), min(free))

    def note_tokens(self, project_id: str, target: str, tokens: int) -> None:
        """Note how many tokens the bucket of a target has; for a rate of each key, that of the runs without one."""
        if self.rates[project_id, target].per_key:
            self._of_keys[project_id, target, ""] = tokens
        else:
            name = project_id, target or None
            self._slots[name] = min(self._slots.get(name, tokens), tokens)

    def buckets(self, project_id: str, target: str | None, key: str | None) -> list[BucketName]:
        """The buckets that a run of the target and key takes a token from when it starts."""
        names = {"", target or ""} if self.rates else ()
        return [
            bucket_of(rate, project_id, name, key)
            for name in names
            if (rate := self.rates.get((project_id, name))) is not None and rate.unit == "runs"
        ]

    def remaining(self, project_id: str, target: str | None) -> int | None:
        """How many more runs of the target may start: at least 0, None without a limit."""
        limits = (self._slots.get((project_id, None)), self._slots.get((project_id, target)))
        free = [slots for slots in limits if slots is not None]
        return max(min(free), 0) if free else None

    def remaining_without_key(self, project_id: str, target: str | None) -> int | None:
        """The same for runs without a concurrency key."""
        free = self.remaining(project_id, target)
        own = self._of_keys.get((project_id, target or "", ""))
        if own is None:
            return free
        return max(own if free is None else min(free, own), 0)

    def project_remaining(self, project_id: str) -> int | None:
        """How many more runs of the whole project may start, None without a limit."""
        return self.remaining(project_id, None)

    def has_target_limits(self, project_id: str) -> bool:
        """Whether a target of the project has a limit of its own."""
        return any(name[0] == project_id and name[1] for name in (*self._slots, *self.rates))

    def take(self, run: Run) -> bool:
        """Take a slot for the run. Returns False if none is free."""
        return self.take_slot(run.project_id, run.target, run.concurrency_key or "")

    def take_slot(self, project_id: str, target: str | None, key: str = "") -> bool:
        """Take a slot for a run of the target. Returns False if none is free."""
        of_key = project_id, target or "", key
        if self._of_keys.get(of_key, 1) <= 0 or self.remaining(project_id, target) == 0:
            return False
        if of_key in self._of_keys:
            self._of_keys[of_key] -= 1
        for name in {(project_id, None), (project_id, target)}:
            if name in self._slots:
                self._slots[name] -= 1
        return True
