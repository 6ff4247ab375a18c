"""Schedules over simulated years, through the rule that fires them, against croniter as a second opinion.

croniter reads a time that the clock shows twice as two times, and fires at both: `30 2 * * *` in Berlin runs
twice in the night when summer time ends. Here a time of the day is one time, and fires at the first. That is
the one difference, and it is held to be exactly that.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from runstead.core.clock import to_ms
from runstead.core.runs.transition import Due
from runstead.core.runs.transitions import fire_due
from runstead.core.schedules.schedule import Schedule, begun

START = to_ms(datetime(2025, 1, 1, tzinfo=UTC))
YEAR = 365 * 86_400_000


def simulated(expression, zone, until):
    """Return the planned times of the runs, if the scheduler fires within a second after each time."""
    made = Schedule(
        "11111111-1111-4111-8111-111111111111", "p", "n", "task", "t", expression, 0, 0, timezone=zone
    )
    schedule, found, lateness = begun(made, START), [], 0
    while schedule.next_fire_at < until:
        lateness = (lateness + 137) % 1_000
        fired = fire_due(Due(schedule.next_fire_at + lateness, schedule))
        assert fired.outcome == "fired"
        assert fired.transition.run.missed_since is None
        found.append(fired.transition.run.scheduled_at)
        schedule = fired.schedule
    assert (schedule.run_count, schedule.missed_count) == (len(found), 0)
    return found


def second_opinion(expression, zone, until):
    walk = croniter(expression, datetime.fromtimestamp(START / 1000, ZoneInfo(zone)))
    found = []
    while (at := to_ms(walk.get_next(datetime))) < until:
        found.append(at)
    return found


def shown(ms, zone):
    moment = datetime.fromtimestamp(ms / 1000, ZoneInfo(zone))
    return moment.strftime("%Y-%m-%d %H:%M"), moment.fold


#: Zone, expression, years, and the times at which only croniter fires: the clock shows each for the second
#: time.
OPINIONS = [
    ("UTC", "0 9 * * MON-FRI", 2, []),
    ("UTC", "0 0 29 2 *", 20, []),
    ("UTC", "0 0 13 * 5", 6, []),
    ("Europe/Berlin", "30 2 * * *", 3, ["2025-10-26 02:30", "2026-10-25 02:30", "2027-10-31 02:30"]),
    ("Europe/Berlin", "15,45 2 * 3,10 SUN", 3, [
        f"{day} 02:{minute}" for day in ("2025-10-26", "2026-10-25", "2027-10-31") for minute in (15, 45)
    ]),
    ("Europe/Berlin", "30 3 * * *", 2, []),
    ("America/New_York", "15 1 * * *", 2, ["2025-11-02 01:15", "2026-11-01 01:15"]),
    ("America/New_York", "30 2 * * *", 2, []),
    ("America/New_York", "45 23 28-31 * *", 6, []),
    ("Australia/Lord_Howe", "45 1 * * *", 2, ["2025-04-06 01:45", "2026-04-05 01:45"]),
    ("Australia/Lord_Howe", "15 2 * * *", 2, []),
    ("Pacific/Chatham", "0 3 * * *", 2, ["2025-04-06 03:00", "2026-04-05 03:00"]),
    ("Asia/Beirut", "0 0 * * *", 2, []),
    ("Asia/Beirut", "45 23 * 10 *", 4, ["2025-10-25 23:45", "2026-10-24 23:45", "2027-10-30 23:45", "2028-10-28 23:45"]),
    ("Asia/Kolkata", "0 12 * JAN,JUL SUN", 6, []),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "expression", "years", "twice"), OPINIONS, ids=lambda part: str(part)[:25])
def test_it_fires_when_croniter_does_except_for_times_that_occur_twice(zone, expression, years, twice):
    until = START + years * YEAR
    ours, theirs = simulated(expression, zone, until), second_opinion(expression, zone, until)
    assert ours == sorted(set(ours))
    assert set(ours) - set(theirs) == set()
    assert [shown(at, zone) for at in sorted(set(theirs) - set(ours))] == [(time, 1) for time in twice]
    # The first occurrence of each of these times fired, so nothing is lost.
    assert {shown(at, zone) for at in ours} >= {(time, 0) for time in twice}


def test_an_expression_for_every_hour_is_an_interval_as_in_croniter():
    """`*/30 * * * *` matches every hour: a time that the clock shows twice fires twice."""
    day = 86_400_000
    for zone in ("Europe/Berlin", "America/New_York"):
        until = START + 20 * day
        assert simulated("*/30 * * * *", zone, until) == second_opinion("*/30 * * * *", zone, until)
