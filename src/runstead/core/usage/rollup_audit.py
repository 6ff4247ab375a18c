"""Holds roll-ups against the runs that they sum up, for `runstead db check`."""

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
    took_of,
    unpacked,
)

_wrong_max: Final = 100
_NOTHING: Final = [0, 0, 0, 0, 0]

Place = tuple[str, int, str, str]
"""Project and weeks, then provider and model, or kind and status."""


class RollupChecker:
    """By stretches of 28 days: every way and width has to come to what the runs come to, deleted ones (`gone`) included for usage."""

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
        """A run that is stored and has ended."""
        self._note(project_id, one, 1, 1)

    def entry(self, project_id: str, action: Action, one: Facts) -> None:
        """What the sums do not know yet."""
        usage = {"ended": -1, "joined": -1, "left": 1, "deleted": 1}[action]
        self._note(project_id, one, usage, -ACTIVITY[action])

    def _note(self, project_id: str, one: Facts, usage: int, activity: int) -> None:
        weeks = one.created_at // WEEKS
        add(self._ended[project_id, weeks, "", ""], usage, ())
        if one.tokens is not None:
            add(self._used[project_id, weeks, coded(one.provider), coded(one.model)], usage, one.tokens)
        active = self._active[project_id, weeks, one.kind, one.status.value]
        active[0] += activity
        _join(active[1], took_of(one, activity))

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
        """Sums of usage of one weeks; `name` only of what is gone."""
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
        there, told = (_plain(one.get(place, ())) for one in (found, wanted))
        if there != told:
            project_id, weeks, *names = place
            of = " ".join(name.removeprefix(":") for name in names)
            yield (
                f"The {what} of the project {project_id} in the 28 days from {iso(weeks * WEEKS)[:10]} on ({of}), in buckets of"
                f" {width // 60_000} minutes, is {there}, and the runs come to {told}"
            )


def _plain(sums: Sequence[Any]) -> list[Hashable]:
    """Without what is nothing."""
    told = [
        dict(sorted((ms, n) for ms, n in one.items() if n)) if isinstance(one, Counter) else one
        for one in sums
    ]
    return told if any(told) else []  # type: ignore[return-value]
