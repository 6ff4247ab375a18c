"""What a list of runs is asked for: all of it stands in the address."""

from datetime import UTC, datetime
from typing import Final, get_args

import msgspec

from runstead.core import limits
from runstead.core.clock import to_ms
from runstead.core.errors import Error
from runstead.core.runs.run import Kind, RunStatus
from runstead.http.run_pages import from_cursor
from runstead.ports.store import RunQuery
from runstead.web.framework.form import Fields
from runstead.web.framework.request import to

KINDS: Final[tuple[str, ...]] = get_args(Kind)
rows_shown: Final = 50
#: Of a chart that has no times of its own: how much of the past, and how wide its bars are (ms).
SPANS: Final = {
    "15m": (15 * 60_000, 15_000, "15 minutes"),
    "1h": (3_600_000, 60_000, "hour"),
    "6h": (6 * 3_600_000, 5 * 60_000, "6 hours"),
    "24h": (86_400_000, 15 * 60_000, "24 hours"),
    "7d": (7 * 86_400_000, 2 * 3_600_000, "7 days"),
}
DEFAULTS: Final = {"sort": "created_at", "span": "1h"}
#: How many pages back are remembered; further back it goes on from the newest.
trail_pages_max: Final = 40


class Filters(msgspec.Struct, frozen=True):
    """What the address asks for, as it stands there. `since` is the first moment and `until` the first one after."""

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

    def query(self, cursor: str = "", limit: int = rows_shown + 1) -> RunQuery:
        """INVALID_REQUEST, where the cursor is no list's, or a time none."""
        since, until = self.times()
        return RunQuery(
            (),
            self.status,
            self.kind,
            (self.target,) if self.target else (),
            self.batch or None,
            self.schedule or None,
            labels=tuple(_label(one) for one in self.label),
            created_after=None if since is None else since - 1,
            created_before=until,
            text=self.q or None,
            sort="duration" if self.sort == "duration" else "created_at",
            before=from_cursor(cursor, self.sort) if cursor else None,
            limit=limit,
        )

    def times(self) -> tuple[int | None, int | None]:
        """From and To in ms. INVALID_REQUEST."""
        return _moment(self.since, "From"), _moment(self.until, "To")

    @property
    def any(self) -> bool:
        """Whether anything is left out of the list."""
        return any(getattr(self, name) for name in _NARROWING)

    @property
    def further(self) -> bool:
        """Whether a filter is set that stands behind "More filters"."""
        return any(getattr(self, name) for name in _NARROWING if name not in ("status", "q"))

    @property
    def moving(self) -> bool:
        """Whether a run may begin or cease to fit while it lives: its state and its title change, nothing else."""
        return bool(self.status or self.q)

    def address(self, project: str, *below: str, **others: str) -> str:
        """The list (or what lies `below` it) with these filters, but for `others`."""
        values = msgspec.structs.asdict(self) | others
        kept = {name: value for name, value in values.items() if DEFAULTS.get(name) != value}
        place = ("list", *below) if below else ("runs",)
        return to("projects", project, *place, **kept)


_NARROWING: Final = tuple(name for name in Filters.__struct_fields__ if name not in DEFAULTS)


def filters_of(fields: Fields) -> Filters:
    """What is not known is left out: an old address still shows a list."""
    return Filters(
        tuple(one for one in RunStatus if one in fields.all("status")),
        tuple(one for one in KINDS if one in fields.all("kind")),
        _text(fields.one("target")),
        _text(fields.one("schedule")),
        _text(fields.one("batch")),
        tuple(_text(one) for one in fields.all("label") if ":" in one)[: limits.labels_max],
        _text(fields.one("q")),
        _field_time(fields.one("since")),
        _field_time(fields.one("until")),
        "duration" if fields.one("sort") == "duration" else "created_at",
        fields.one("span") if fields.one("span") in SPANS else "1h",
    )


def _text(value: str) -> str:
    """No database keeps a NUL in a text, so nothing has one."""
    return value.replace("\x00", "")[: limits.name_chars_max]


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition(":")
    return key, value


def _field_time(text: str) -> str:
    """A time as the field for it holds it, `2026-03-20T12:00:00`, in UTC; what is none stays, to be told of."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text[:40]
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:
            return text[:40]
    return moment.isoformat(timespec="seconds")


def _moment(text: str, what: str) -> int | None:
    """A time of a field, in ms."""
    if not text:
        return None
    try:
        moment = to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))
    except ValueError as error:
        raise Error("INVALID_REQUEST", f"{what} is no time: write it as 2026-03-20T12:00, in UTC") from error
    if not 0 <= moment <= limits.timestamp_ms_max:
        raise Error("INVALID_REQUEST", f"{what} lies outside of the years 1970 to 9999")
    return moment
