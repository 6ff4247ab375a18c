"""Filters of the list of runs, read from its address."""

from datetime import UTC, datetime
from typing import Final, get_args

import msgspec

from runstead.core import limits
from runstead.core.clock import to_ms
from runstead.core.errors import Error
from runstead.core.runs.run import OMITTABLE, Kind, RunStatus
from runstead.http.run_pages import from_cursor
from runstead.ports.store import RunQuery
from runstead.web.framework.form import Fields
from runstead.web.framework.request import to

KINDS: Final[tuple[str, ...]] = get_args(Kind)
rows_shown: Final = 50
#: Time spans of the chart: its length and the width of its bars (ms), and its name.
SPANS: Final = {
    "15m": (15 * 60_000, 15_000, "15 minutes"),
    "1h": (3_600_000, 60_000, "hour"),
    "6h": (6 * 3_600_000, 5 * 60_000, "6 hours"),
    "24h": (86_400_000, 15 * 60_000, "24 hours"),
    "7d": (7 * 86_400_000, 2 * 3_600_000, "7 days"),
}
DEFAULTS: Final = {"sort": "created_at", "span": "1h"}
#: How many previous pages an address remembers.
trail_pages_max: Final = 40


class Filters(msgspec.Struct, frozen=True):
    """The filters as text, as the address has them. `since` is inclusive, `until` exclusive."""

    status: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    target: str = ""
    schedule: str = ""
    batch: str = ""
    label: tuple[str, ...] = ()
    q: str = ""
    since: str = ""
    until: str = ""
    sort: str = "created_at"
    span: str = "1h"

    def query(self, cursor: str = "", limit: int = rows_shown) -> RunQuery:
        """The query for the store. INVALID_REQUEST for an invalid cursor or time."""
        since, until = self.times()
        return RunQuery(
            project_ids=(),
            statuses=self.status,
            kinds=self.kind,
            targets=(self.target,) if self.target else (),
            batch_id=self.batch or None,
            schedule_id=self.schedule or None,
            labels=tuple(_label(one) for one in self.label),
            created_after=None if since is None else since - 1,
            created_before=until,
            text=self.q or None,
            sort="duration" if self.sort == "duration" else "created_at",
            before=from_cursor(cursor, self.sort) if cursor else None,
            limit=limit,
            omit=OMITTABLE - {"error"},
            bytes_max=limits.list_page_bytes_max,
        )

    def times(self) -> tuple[int | None, int | None]:
        """From and To in ms. INVALID_REQUEST."""
        return _parse_time(self.since, "From"), _parse_time(self.until, "To")

    @property
    def any(self) -> bool:
        """Whether a filter is set."""
        return any(getattr(self, name) for name in _FILTERS)

    @property
    def any_advanced(self) -> bool:
        """Whether a filter under "More filters" is set."""
        return any(getattr(self, name) for name in _FILTERS if name not in ("status", "q"))

    @property
    def mutable(self) -> bool:
        """Whether a run may start or stop matching later: only its status and its title change."""
        return bool(self.status or self.q)

    def address(self, project: str, *below: str, **others: str) -> str:
        """The address of the list or of a page below it, with these filters, updated by `others`."""
        values = msgspec.structs.asdict(self) | others
        kept = {name: value for name, value in values.items() if DEFAULTS.get(name) != value}
        segments = ("list", *below) if below else ("runs",)
        return to("projects", project, *segments, **kept)


_FILTERS: Final = tuple(name for name in Filters.__struct_fields__ if name not in DEFAULTS)


def filters_of(fields: Fields) -> Filters:
    """The filters in these fields. Unknown values are ignored, so that old links work."""
    return Filters(
        status=tuple(one for one in RunStatus if one in fields.all("status")),
        kind=tuple(one for one in KINDS if one in fields.all("kind")),
        target=_text(fields.one("target")),
        schedule=_text(fields.one("schedule")),
        batch=_text(fields.one("batch")),
        label=tuple(_text(one) for one in fields.all("label") if ":" in one)[: limits.labels_max],
        q=_text(fields.one("q")),
        since=_field_time(fields.one("since")),
        until=_field_time(fields.one("until")),
        sort="duration" if fields.one("sort") == "duration" else "created_at",
        span=fields.one("span") if fields.one("span") in SPANS else "1h",
    )


def exact_filters_of(fields: Fields) -> Filters:
    """The filters in these fields. INVALID_REQUEST for one that would be ignored: then more runs would match."""
    found = filters_of(fields)
    for name in _FILTERS:
        values = getattr(found, name)
        known = {values} if isinstance(values, str) else set(values)
        if name not in ("since", "until") and (ignored := set(fields.all(name)) - known):
            raise Error(
                "INVALID_REQUEST",
                f"{min(ignored)[:80]!r} is no filter by {name}: choose the runs in the list",
            )
    return found


def _text(value: str) -> str:
    """The value without NUL characters, which no database can store."""
    return value.replace("\x00", "")[: limits.name_chars_max]


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition(":")
    return key, value


def _field_time(text: str) -> str:
    """A time in UTC as its input field has it, `2026-03-20T12:00:00`. Invalid text is kept, to be reported."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text[:40]
    if time.tzinfo is not None:
        try:
            time = time.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:
            return text[:40]
    return time.isoformat(timespec="seconds")


def _parse_time(text: str, what: str) -> int | None:
    """The time of a field in ms, None if it is empty. INVALID_REQUEST."""
    if not text:
        return None
    try:
        time = to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))
    except ValueError as error:
        raise Error(
            "INVALID_REQUEST", f"{what} is not a time: write it as 2026-03-20T12:00, in UTC"
        ) from error
    if not 0 <= time <= limits.timestamp_ms_max:
        raise Error("INVALID_REQUEST", f"{what} is outside the years 1970 to 9999")
    return time
