"""Five-field POSIX cron (IEEE Std 1003.1, crontab) with the names and steps of Vixie cron, in an IANA time
zone.

This is the only file of the core that needs more than the standard library and msgspec: `cronsim` computes
which times an expression matches. This file handles the changes of the clock.
"""

import re
import zoneinfo
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Final

from cronsim import CronSim, CronSimError

from runstead.core import limits
from runstead.core.clock import to_ms
from runstead.core.errors import Error, invalid_at

_FIELDS: Final = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31",
    "month": "1 to 12 or JAN to DEC",
    "day-of-week": "0 to 7 or SUN to SAT (0 and 7 are Sunday)",
}
_VALUE: Final = r"(?:\d{1,2}|[A-Za-z]{3})"
_ITEM: Final = rf"(?:\*|{_VALUE}(?:-{_VALUE})?)(?:/\d{{1,2}})?"
_FIELD: Final = re.compile(rf"{_ITEM}(?:,{_ITEM})*", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_SOON_MINUTES: Final = 4 * 60


def check(expression: str) -> None:
    """INVALID_REQUEST if it is not an expression, or if it names a day that no year has."""
    if len(expression) > limits.cron_chars_max:
        raise _refused(f"A schedule has at most {limits.cron_chars_max} characters")
    if expression.lstrip().startswith("@"):
        raise _refused(
            f"{expression.strip()!r} is a macro: write the five fields instead, as in '0 0 * * *' for every midnight"
        )
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        more = ": seconds and years cannot be given" if len(fields) > len(_FIELDS) else ""
        raise _refused(
            f"A schedule has five fields (minute, hour, day of month, month, day of week), not {len(fields)}{more}"
        )
    for name, field in zip(_FIELDS, fields, strict=True):
        alone = ["*" if other != name else field for other in _FIELDS]
        if not _FIELD.fullmatch(field) or not _is_valid(" ".join(alone)):
            raise _refused(
                f"The {name} field {field!r} is not valid: it takes {_FIELDS[name]}, as *, a-b, a,b or a-b/n"
            )
    if not _is_valid(expression):
        raise _refused(f"The schedule {expression!r} names a day that none of its months has")


def _refused(sentence: str) -> Error:
    return invalid_at("$.schedule", sentence)


def describe(expression: str) -> str:
    """Describe a valid expression in English: `At 02:30 on Monday through Friday`."""
    return CronSim(expression, _EPOCH).explain()


@cache
def _names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


@cache
def zones() -> list[str]:
    """Return the zone names that the dashboard offers: places, and UTC."""
    places = (name for name in _names() if "/" in name and not name.startswith(("Etc/", "SystemV/", "US/")))
    return ["UTC", *sorted(places)]


@cache
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


def zone(name: str) -> tzinfo:
    """Return the time zone.

    INVALID_REQUEST if the name is not in the IANA database with exactly this case.
    """
    if name != "UTC" and name not in _names():
        sentence = f"{name!r} is not an IANA time zone: use a name such as Europe/Berlin or UTC"
        raise invalid_at("$.timezone", sentence)
    return _zone(name)


def next_time(expression: str, timezone: str, after: int) -> int | None:
    """Return the first time after `after` (ms) that the expression matches, on a full minute. None if there
    is none within fifty years.

    An expression that names hours means times of the day. A time that the clock skips fires once, at the next
    existing minute. A time that the clock shows twice fires once, the first time. An expression that matches
    every hour means an interval: it fires in each hour that passes, also in an hour that the clock shows
    twice.
    """
    place = zone(timezone)
    moment = _EPOCH + timedelta(milliseconds=after)
    start = moment.astimezone(place).replace(tzinfo=None)
    walk = CronSim(expression, start)
    every_hour = len(walk.hours) == 24
    if every_hour and (soon := _soon(walk, moment, place)) is not None:
        return to_ms(soon)
    for wall in walk:
        at = _existing(wall, place)
        skipped = at.astimezone(place).replace(tzinfo=None) != wall
        if to_ms(at) > after and not (skipped and every_hour):
            return to_ms(at)
    return None


def _is_valid(expression: str) -> bool:
    try:
        CronSim(expression, _EPOCH)
    except CronSimError:
        return False
    return True


def _soon(named: CronSim, moment: datetime, place: tzinfo) -> datetime | None:
    """Return the first matching minute of the next hours, including hours that the clock shows twice. Clocks
    are never set back by more, so later matches are in clock order.
    """
    at = moment.replace(second=0, microsecond=0)
    for _ in range(_SOON_MINUTES):
        at += _MINUTE
        wall = at.astimezone(place)
        if wall.minute in named.minutes and wall.month in named.months and named.match_day(wall.date()):
            return at
    return None


def _existing(wall: datetime, place: tzinfo) -> datetime:
    """Return the first moment at which the local clock shows this time, or the next minute that the clock shows."""
    while (at := wall.replace(tzinfo=place).astimezone(UTC)).astimezone(place).replace(tzinfo=None) != wall:
        wall += _MINUTE
    return at
