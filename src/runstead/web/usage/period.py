"""The period of a report: whole days in UTC, read from the address."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import msgspec

from runstead.core.clock import to_ms
from runstead.core.errors import Error
from runstead.web.framework.form import Fields

#: Periods in the menu: name in the address, label, and number of days that end today.
PERIODS: Final = (("today", "Today", 1), ("7d", "7 days", 7), ("30d", "30 days", 30))
_DAYS: Final = {name: days for name, _, days in PERIODS}
_DEFAULT: Final = "7d"


class Period(msgspec.Struct, frozen=True):
    """From the first day to the last, both included. `name` is empty if the address has `from` or `to`."""

    name: str
    first: date
    last: date

    @property
    def since(self) -> int:
        return _start_of(self.first)

    @property
    def until(self) -> int:
        """The start of the day after the last one (ms)."""
        return _start_of(self.last + timedelta(days=1))

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def fields(self) -> dict[str, str]:
        """The period as query fields."""
        if self.name:
            return {"period": self.name}
        return {"from": self.first.isoformat(), "to": self.last.isoformat()}


def _start_of(day: date) -> int:
    return to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC))


def period_of(fields: Fields, now: int) -> Period:
    """The period in the address, by default seven days. INVALID_REQUEST."""
    today = datetime.fromtimestamp(now / 1000, UTC).date()
    first, last = fields.one("from"), fields.one("to")
    if not first and not last:
        name = fields.one("period", _DEFAULT)
        name = name if name in _DAYS else _DEFAULT
        return Period(name, today - timedelta(days=_DAYS[name] - 1), today)
    ends = _day(last, "To") if last else today
    begins = _day(first, "From") if first else ends
    if begins > ends:
        raise Error("INVALID_REQUEST", f"From ({begins}) is after To ({ends})")
    return Period("", begins, ends)


def _day(text: str, what: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    if not 1970 <= day.year <= 9998:
        raise Error("INVALID_REQUEST", f"{what} is not a date: write it as 2026-03-20, from the year 1970 on")
    return day
