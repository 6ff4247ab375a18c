"""Compares roll-ups with the runs that they sum up, for `runstead db check`."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

from runstead.core.clock import iso
from runstead.core.usage.rollup import (
    ACTIVITY,
    ACTIVITY_WIDTHS,
    USAGE_WIDTHS,
    WEEKS,
    Action,
    Durations,
    Facts,
    Sums,
    add,
    coded,
    duration_of,
    unpacked,
)

_wrong_max: Final = 100
_NOTHING: Final = [0, 0, 0, 0, 0]

Place = tuple[str, int, str, str]
"""The project and the period of four weeks, then provider and model, or kind and status."""


class RollupChecker:
    """Compares the sums by periods of 28 days: the sums of every grouping and width must equal those of the
    runs. For usage, deleted runs (`gone`) are included.
    """

    def __init__(self) -> None:
        self._used: dict[Place, Sums] = defaultdict(lambda: list(_NOTHING))
        self._ended: dict[Place, Sums] = defaultdict(lambda: list(_NOTHING))
        self._active: dict[Place, list[Any]] = defaultdict(lambda: [0, Counter()])
        self._usage: dict[tuple[str, int], dict[Place, Sums]] = {
            (way, width): defaultdict(lambda: list(_NOTHING))
            for way, widths in USAGE_WIDTHS.items()
            for width in widths
            if way != "gone"
        }
        self._activity: dict[tuple[str, int], dict[Place, list[Any]]] = {
            (way, width): defaultdict(lambda: [0, Counter()])
            for way in ("all", "target")
            for width in ACTIVITY_WIDTHS
        }

    def run(self, project_id: str, one: Facts) -> None:
        """Count a stored run that has ended."""
        self._note(project_id, one, 1, 1)

    def entry(self, project_id: str, action: Action, one: Facts) -> None:
        """Count an entry that is not in the sums yet."""
        usage = {"ended": -1, "joined": -1, "left": 1, "deleted": 1}[action]
        self._note(project_id, one, usage, -ACTIVITY[action])

    def _note(self, project_id: str, one: Facts, usage: int, activity: int) -> None:
        weeks = one.created_at // WEEKS
        add(self._ended[project_id, weeks, "", ""], usage, ())
        if one.tokens is not None:
            add(self._used[project_id, weeks, coded(one.provider), coded(one.model)], usage, one.tokens)
        active = self._active[project_id, weeks, one.kind, one.status.value]
        active[0] += activity
        _join(active[1], duration_of(one, activity))

    def usage(
        self,
        project_id: str,
        way: str,
        width: int,
        weeks: int,
        name: str,
        provider: str,
        model: str,
        *sums: int,
    ) -> None:
        """Count usage sums of one period. `name` is set for the grouping `gone` only."""
        place = project_id, weeks, provider, model
        gone = self._ended if name == "ended" else self._used
        into = gone if way == "gone" else self._usage[way, width]
        for at, value in enumerate(sums):
            into[place][at] += int(value)

    def activity(
        self,
        project_id: str,
        way: str,
        width: int,
        weeks: int,
        kind: str,
        status: str,
        runs: int,
        durations: bytes,
    ) -> None:
        if way != "schedule":  # only some runs have one
            found = self._activity[way, width][project_id, weeks, kind, status]
            found[0] += runs
            _join(found[1], unpacked(durations))

    def wrong(self) -> list[str]:
        """Return a sentence for each difference, at most a hundred."""
        return [sentence for _, sentence in zip(range(_wrong_max), self._wrong(), strict=False)]

    def _wrong(self) -> Iterator[str]:
        for (way, width), found in self._usage.items():
            yield from _differences(
                f"usage by {way}", width, found, self._ended if way == "ended" else self._used
            )
        for (way, width), counted in self._activity.items():
            yield from _differences(f"activity by {way}", width, counted, self._active)


def _join(durations: Durations, others: Durations) -> None:
    for ms, runs in others.items():
        durations[ms] += runs


def _differences(
    what: str, width: int, found: Mapping[Place, Sequence[Any]], wanted: Mapping[Place, Sequence[Any]]
) -> Iterator[str]:
    for place in sorted(found.keys() | wanted.keys()):
        stored, expected = (_plain(one.get(place, ())) for one in (found, wanted))
        if stored != expected:
            project_id, weeks, *names = place
            of = " ".join(name.removeprefix(":") for name in names)
            yield (
                f"The {what} of the project {project_id} in the 28 days from {iso(weeks * WEEKS)[:10]} on ({of}), in buckets"
                f" of {width // 60_000} minutes, is {stored}, but the runs add up to {expected}"
            )


def _plain(sums: Sequence[Any]) -> list[Hashable]:
    """Return the sums in a comparable form, without zeros."""
    values = [
        dict(sorted((ms, n) for ms, n in one.items() if n)) if isinstance(one, Counter) else one
        for one in sums
    ]
    return values if any(values) else []  # type: ignore[return-value]
