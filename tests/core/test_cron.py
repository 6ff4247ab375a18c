"""When an expression is due, compared with a second implementation of cron that reads clocks minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from runstead.core.clock import to_ms
from runstead.core.errors import Error
from runstead.core.schedules import cron
from tests.support.examples import examples

MINUTE = 60_000
SPRING = datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Berlin"))  # 02:00 is followed by 03:00
AUTUMN = datetime(2026, 10, 25, tzinfo=ZoneInfo("Europe/Berlin"))  # 03:00 is followed by 02:00


def at(text, zone="UTC", fold=0):
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold))


def refusal(expression):
    """Return the error for an expression, None if it is accepted."""
    try:
        cron.check(expression)
    except Error as refused:
        return refused
    return None


def fires(expression, zone, after, until):
    found = []
    while (after := cron.next_time(expression, zone, after)) is not None and after <= until:
        found.append(after)
    return found


def berlin(expression, day, hours=24):
    """The clock in Berlin at each time the expression is due that day, and whether it shows it for the second time."""
    start = to_ms(day)
    found = fires(expression, "Europe/Berlin", start - 1, start + hours * 60 * MINUTE - 1)
    moments = [datetime.fromtimestamp(ms / 1000, ZoneInfo("Europe/Berlin")) for ms in found]
    return [moment.strftime("%H:%M") + "'" * moment.fold for moment in moments]


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 9 * * 1-5", "2026-03-20T12:00", "2026-03-23T09:00"),
        ("0 9 * * MON-FRI", "2026-03-20T12:00", "2026-03-23T09:00"),
        ("0 0 1 jan *", "2026-03-20T12:00", "2027-01-01T00:00"),
        ("*/15 * * * *", "2026-03-20T12:01", "2026-03-20T12:15"),
        ("5-59/20 12 * * *", "2026-03-20T12:05", "2026-03-20T12:25"),
        ("0,30 8,20 * * *", "2026-03-20T08:30", "2026-03-20T20:00"),
        ("0 0 * * 7", "2026-03-20T12:00", "2026-03-22T00:00"),
        ("0 0 29 2 *", "2026-03-20T12:00", "2028-02-29T00:00"),
        ("0 0 13 * 5", "2026-03-21T00:00", "2026-03-27T00:00"),  # both days named: either will do
    ],
)
def test_an_expression_is_next_due(expression, after, expected):
    cron.check(expression)
    assert cron.next_time(expression, "UTC", at(after)) == at(expected)


def test_the_current_minute_never_matches():
    noon = at("2026-03-20T12:00")
    assert cron.next_time("0 12 * * *", "UTC", noon - 1) == noon
    assert cron.next_time("0 12 * * *", "UTC", noon) == noon + 24 * 60 * MINUTE


def test_an_expression_is_read_in_its_time_zone():
    assert cron.next_time("0 9 * * *", "Europe/Berlin", at("2026-07-01T00:00")) == at("2026-07-01T07:00")
    assert cron.next_time("0 9 * * *", "Europe/Berlin", at("2026-12-01T00:00")) == at("2026-12-01T08:00")
    assert cron.next_time("0 9 * * *", "Asia/Kolkata", at("2026-07-01T00:00")) == at("2026-07-01T03:30")


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/30 2 * * *", "15,45 2 * * *", "0-59 2 * * *"])
def test_times_that_do_not_exist_fire_once_at_the_next_minute_that_does(expression):
    assert berlin(expression, SPRING, 23) == ["03:00"]


def test_a_skipped_time_and_a_match_at_the_next_minute_fire_once():
    assert berlin("30 2,3 * * *", SPRING, 23) == ["03:00", "03:30"]
    assert berlin("0 2,3 * * *", SPRING, 23) == ["03:00"]


def test_times_that_exist_twice_fire_once():
    assert berlin("30 2 * * *", AUTUMN, 25) == ["02:30"]
    assert berlin("*/20 2 * * *", AUTUMN, 25) == ["02:00", "02:20", "02:40"]
    assert berlin("30 */2 * * *", AUTUMN, 25)[:3] == ["00:30", "02:30", "04:30"]


def test_after_the_first_of_two_equal_times_the_next_match_is_a_day_later():
    second = at("2026-10-25T02:10", "Europe/Berlin", fold=1)
    assert cron.next_time("30 2 * * *", "Europe/Berlin", second) == at("2026-10-26T02:30", "Europe/Berlin")


def test_an_expression_for_every_hour_fires_in_each_hour_that_passes():
    assert berlin("30 * * * *", SPRING, 4) == ["00:30", "01:30", "03:30", "04:30"]
    assert berlin("30 * * * *", AUTUMN, 5) == ["00:30", "01:30", "02:30", "02:30'", "03:30"]
    assert berlin("30 0-23 * * *", AUTUMN, 5) == ["00:30", "01:30", "02:30", "02:30'", "03:30"]


def test_clocks_can_be_set_back_by_half_an_hour():
    start = at("2026-04-05T00:45", "Australia/Lord_Howe")  # 02:00 is followed by 01:30
    found = fires("30 * * * *", "Australia/Lord_Howe", start, start + 150 * MINUTE)
    assert [(ms - start) // MINUTE for ms in found] == [45, 75, 135]  # 01:30, 01:30 again, 02:30


def test_an_expression_for_every_hour_skips_an_hour_that_does_not_exist():
    before = at("2026-03-01T12:00", "Asia/Beirut")
    found = cron.next_time("30 * 29 3 *", "Asia/Beirut", before)
    assert found == at("2026-03-29T01:30", "Asia/Beirut")


def test_a_midnight_that_does_not_exist_fires_at_the_first_minute_of_the_day():
    before = at("2026-03-28T12:00", "Asia/Beirut")  # clocks go from 00:00 to 01:00 on the 29th
    assert cron.next_time("0 0 * * *", "Asia/Beirut", before) == at("2026-03-29T01:00", "Asia/Beirut")


def test_a_day_that_does_not_exist_fires_at_the_next_one():
    before = at("2011-12-29T13:00", "Pacific/Apia")  # the 30th was left out
    assert cron.next_time("0 12 30 12 *", "Pacific/Apia", before) == at("2011-12-31T00:00", "Pacific/Apia")


BAD = {
    "@daily": "macro",
    " @every 5m": "macro",
    "0 * * * * *": "not 6: seconds and years cannot be given",
    "0 3 * *": "not 4",
    "": "not 0",
    "60 * * * *": "The minute field '60'",
    "* 24 * * *": "The hour field '24'",
    "* * 0 * *": "The day-of-month field '0'",
    "* * 32 * *": "The day-of-month field '32'",
    "* * * 13 *": "The month field '13'",
    "* * * FEBRUARY *": "The month field 'FEBRUARY'",
    "* * * * 8": "The day-of-week field '8'",
    "* * * * MON#2": "The day-of-week field 'MON#2'",
    "* * L * *": "The day-of-month field 'L'",
    "* * * * 5L": "The day-of-week field '5L'",
    "* * ? * *": "The day-of-month field '?'",
    "5-1 * * * *": "The minute field '5-1'",
    "*/0 * * * *": "The minute field '*/0'",
    "1- * * * *": "The minute field '1-'",
    ",1 * * * *": "The minute field ',1'",
    "-1 * * * *": "The minute field '-1'",
    "1.5 * * * *": "The minute field '1.5'",
    "٣ * * * *": "The minute field '٣'",
    "0 0 30 2 *": "names a day that none of its months has",
    "0 0 31 4,6 *": "names a day that none of its months has",
    "*" * 300: "at most 255 characters",
}


@pytest.mark.parametrize("expression", BAD, ids=range(len(BAD)))
def test_an_invalid_expression_is_refused_with_a_sentence(expression):
    with pytest.raises(Error) as caught:
        cron.check(expression)
    assert caught.value.code == "INVALID_REQUEST"
    assert BAD[expression] in caught.value.message
    assert caught.value.errors[0][0] == "$.schedule"


@given(st.text("*/,-0123456789 @LW#?MONJAFEB\t\n", max_size=30))
def test_any_text_is_accepted_or_refused(text):
    refused = refusal(text)
    if refused is None:
        assert cron.next_time(text, "Europe/Berlin", at("2026-03-20T12:00")) is not None
    else:
        assert refused.code == "INVALID_REQUEST"


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "europe/berlin", "", "Europe", "../etc/passwd", "/UTC", "UTC\n"]
)
def test_an_unknown_time_zone_is_refused(name):
    with pytest.raises(Error, match="not an IANA time zone") as caught:
        cron.zone(name)
    assert caught.value.errors[0][0] == "$.timezone"


# The second implementation of cron

FIELDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 6)}


@st.composite
def fields(draw, low, high):
    """A field and the values it names."""
    values = range(low, high + 1)
    shape = draw(st.sampled_from(("any", "any", "one", "some", "range", "steps")))
    if shape == "any":
        return "*", set(values)
    if shape == "some":
        some = draw(st.sets(st.sampled_from(values), min_size=1, max_size=3))
        return ",".join(map(str, some)), some
    if shape == "steps":
        step = draw(st.integers(1, 12))
        return f"*/{step}", set(values[::step])
    first = draw(st.sampled_from(values))
    last = first if shape == "one" else draw(st.integers(first, high))
    return (str(first) if shape == "one" else f"{first}-{last}"), set(range(first, last + 1))


def named(wall, found):
    minute, hour, day, month, weekday = (values for _, values in found)
    if wall.minute not in minute or wall.hour not in hour or wall.month not in month:
        return False
    days = (wall.day in day, wall.isoweekday() % 7 in weekday)
    starred = found[2][0].startswith("*") or found[4][0].startswith("*")
    return all(days) if starred else any(days)


def shown(wall, zone):
    """Return the first moment at which clocks show this time, None if they never do."""
    moment = to_ms(wall.replace(tzinfo=zone))
    real = datetime.fromtimestamp(moment / 1000, UTC).astimezone(zone).replace(tzinfo=None)
    return moment if real == wall else None


def expected(found, zone, start, end):
    every_hour = len(found[1][1]) == 24
    due = set()
    if every_hour:
        for ms in range(start, end + 1, MINUTE):
            if named(datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone).replace(tzinfo=None), found):
                due.add(ms)
        return sorted(due)
    wall = datetime.fromtimestamp(start / 1000, UTC).astimezone(zone).replace(tzinfo=None) - timedelta(
        hours=3
    )
    pending = False
    while (moment := shown(wall, zone)) is None or moment <= end:
        pending = pending or named(wall, found)
        if pending and moment is not None:
            due.add(moment)
            pending = False
        wall += timedelta(minutes=1)
    return sorted(ms for ms in due if ms >= start)


ZONES = {
    "Europe/Berlin": [SPRING, AUTUMN],
    "America/New_York": [datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)],
    "Australia/Lord_Howe": [
        datetime(2026, 4, 4, tzinfo=UTC),
        datetime(2026, 10, 3, tzinfo=UTC),
    ],  # half an hour
    "Asia/Beirut": [
        datetime(2026, 3, 28, 12, tzinfo=UTC),
        datetime(2026, 10, 24, 12, tzinfo=UTC),
    ],  # at midnight
    "UTC": [SPRING],
}


@settings(max_examples=examples(100), deadline=None)
@given(
    place=st.sampled_from(sorted(ZONES)),
    turn=st.integers(0, 1),
    found=st.tuples(*(fields(*bounds) for bounds in FIELDS.values())),
)
def test_an_expression_is_due_exactly_when_clocks_show_its_times_around_clock_changes(place, turn, found):
    day = ZONES[place][turn % len(ZONES[place])]
    start = to_ms(day) - 2 * 60 * MINUTE
    end = start + 30 * 60 * MINUTE
    expression = " ".join(text for text, _ in found)
    if (refused := refusal(expression)) is not None:
        assert "none of its months" in refused.message
        return
    assert fires(expression, place, start - 1, end) == expected(found, ZoneInfo(place), start, end)


@settings(max_examples=examples(100), deadline=None)
@given(
    found=st.tuples(*(fields(*bounds) for bounds in FIELDS.values())),
    after=st.integers(at("2020-01-01T00:00"), at("2030-01-01T00:00")),
)
def test_the_next_time_is_later_and_on_a_full_minute(found, after):
    expression = " ".join(text for text, _ in found)
    found = None if refusal(expression) else cron.next_time(expression, "Europe/Berlin", after)
    if found is not None:
        assert found > after
        assert found % MINUTE == 0
        assert cron.next_time(expression, "Europe/Berlin", found - 1) == found


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "Every minute"),
        ("30 2 * * mon-fri", "At 02:30 on Monday through Friday"),
        ("0 0 1 JAN *", "At 00:00 on January 1"),
        (" 0  12 * * 7 ", "At 12:00 on Sunday"),
    ],
)
def test_an_expression_is_described_in_words(expression, words):
    assert cron.describe(expression) == words


@settings(max_examples=examples(100), deadline=None)
@given(found=st.tuples(*(fields(*bounds) for bounds in FIELDS.values())))
def test_every_accepted_expression_has_a_description(found):
    expression = " ".join(text for text, _ in found)
    if refusal(expression) is None:
        assert cron.describe(expression)[0].isupper()


def test_every_offered_zone_is_accepted_by_schedules():
    zones = cron.zones()
    assert zones[0] == "UTC"
    assert "Europe/Berlin" in zones
    assert [name for name in zones if cron.zone(name) is None] == []
