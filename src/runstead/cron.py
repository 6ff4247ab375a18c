"""Five-field POSIX cron with names and steps (IEEE Std 1003.1, crontab; names and steps as in every cron since Vixie's),
in the time of an IANA zone. The one file of the core that needs more than the standard library and msgspec: `cronsim`
knows which times an expression names, and what is done about the clock's changes stands here.
"""

import re
import zoneinfo
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Final

from cronsim import CronSim, CronSimError

from runstead import limits
from runstead.clock import to_ms
from runstead.errors import Error

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


def check(expression: str) -> None:
    """INVALID_REQUEST with a sentence where it is no expression, or names a day that no year has."""
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
        if not _FIELD.fullmatch(field) or not _taken(" ".join(alone)):
            raise _refused(
                f"The {name} field {field!r} is not valid: it takes {_FIELDS[name]}, as *, a-b, a,b or a-b/n"
            )
    if not _taken(expression):
        raise _refused(f"The schedule {expression!r} names a day that none of its months has")


def _taken(expression: str) -> bool:
    try:
        _walk(expression, _EPOCH)
    except CronSimError:
        return False
    return True


def _refused(sentence: str) -> Error:
    return Error("INVALID_REQUEST", sentence, errors=(("$.schedule", sentence),))


@cache
def _names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


@cache
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


def zone(name: str) -> tzinfo:
    """INVALID_REQUEST where the name is not one of the IANA database, upper and lower case included."""
    if name != "UTC" and name not in _names():
        sentence = f"{name!r} is no IANA time zone: it must be one like Europe/Berlin or UTC"
        raise Error("INVALID_REQUEST", sentence, errors=(("$.timezone", sentence),))
    return _zone(name)


def next_time(expression: str, timezone: str, after: int) -> int | None:
    """The first moment after `after` (ms) that the expression names, on a full minute. None where there is none within
    fifty years.

    An expression that names hours means times of the day. One that the clock skips fires once, at the next minute
    that exists; one that the clock shows twice fires once, at the first. Where every hour is named, the expression
    means a distance: it fires at each hour that passes, also at one that the clock shows twice.
    """
    place = zone(timezone)
    moment = _EPOCH + timedelta(milliseconds=after)
    if place is UTC or _every_hour(expression):
        found = next(_walk(expression, moment.astimezone(place)), None)
        return None if found is None else to_ms(found)
    for wall in _walk(expression, moment.astimezone(place).replace(tzinfo=None)):
        at = to_ms(_existing(wall, place))
        if at > after:
            return at
    return None


def _walk(expression: str, after: datetime) -> CronSim:
    # With a seconds field cronsim leaves the clock's changes alone.
    return CronSim(f"0 {expression}", after)


def _every_hour(expression: str) -> bool:
    return len(_walk(expression, _EPOCH).hours) == 24


def _existing(wall: datetime, place: tzinfo) -> datetime:
    """The first moment at which clocks there show this time, or the next minute that they do show."""
    while True:
        at = wall.replace(tzinfo=place).astimezone(UTC)
        if at.astimezone(place).replace(tzinfo=None) == wall:
            return at
        wall += _MINUTE
