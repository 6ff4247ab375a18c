"""The parts of the usage page: periods, amounts, charts and CSV cells. Pure."""

import csv
import io
from datetime import date

import pytest
from hypothesis import given, strategies as st

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.usage.report import Group, Line, UsageReport
from runstead.core.usage.usage import Tokens
from runstead.web.framework.form import fields_of
from runstead.web.usage import csv_export, money
from runstead.web.usage.chart import charts
from runstead.web.usage.period import Period, period_of

NOON = 1_774_008_000_000  # 2026-03-20T12:00Z
DAY = 86_400_000


def asked(text):
    return period_of(fields_of(text.encode()), NOON)


def test_a_period_ends_with_today():
    week = asked("")
    assert (week.name, week.first, week.last, week.days) == ("7d", date(2026, 3, 14), date(2026, 3, 20), 7)
    assert asked("period=today").since == NOON - DAY // 2
    assert asked("period=today").until == NOON + DAY // 2
    assert asked("period=30d").until - asked("period=30d").since == 30 * DAY
    assert asked("period=nonsense") == week


def test_a_period_can_be_given_by_its_days():
    march = asked("from=2026-03-01&to=2026-03-31")
    assert (march.name, march.days) == ("", 31)
    assert march.fields == {"from": "2026-03-01", "to": "2026-03-31"}
    assert asked("from=2026-03-19").last == date(2026, 3, 20)
    assert asked("to=2026-03-02").days == 1


@pytest.mark.parametrize(
    "text",
    ["from=tomorrow", "to=2026-13-01", "from=2026-03-02&to=2026-03-01", "from=0001-01-01", "to=9999-12-31"],
)
def test_days_that_are_none_are_refused(text):
    with pytest.raises(Error) as refused:
        asked(text)
    assert refused.value.code == "INVALID_REQUEST"


@given(st.integers(0, limits.price_max))
def test_a_price_is_read_as_it_is_written(micros):
    assert money.parsed("input", money.exact(micros)) == micros


def test_prices_are_written_with_two_places_at_least():
    assert [money.exact(one) for one in (0, 75_000, 2_500_000, 1)] == ["0.00", "0.075", "2.50", "0.000001"]


@pytest.mark.parametrize(
    "typed",
    ["", "-1", "free", "1e99999999", "NaN", "Infinity", "0.0000001", "1_0", "2,50", "1000000.000001", "٢"],
)
def test_what_is_no_price_is_refused_at_its_field(typed):
    with pytest.raises(Error) as refused:
        money.parsed("cached", typed)
    assert refused.value.errors[0][0] == "$.cached"


def test_costs_are_rounded_for_reading_but_never_to_nothing():
    rounded = [money.rounded(one) for one in (0, 1, 3_449, 9_999, 10_000, 1_234_565_000, 999_995_000)]
    assert rounded == ["0.00", "0.000001", "0.0034", "0.01", "0.01", "1,234.57", "1,000.00"]


@given(st.integers(0, 10**15))
def test_a_rounded_cost_is_close(micros):
    rounded = round(float(money.rounded(micros).replace(",", "")) * 1e6)
    assert abs(rounded - micros) <= max(5_000 if micros >= 10_000 else micros * 0.06, 0)


def group(key, *, tokens=(0, 0, 0), runs=1, cost=0, lines=()):
    given, cached, out = tokens
    return Group(key, runs, Tokens(given, out, cached, 0), cost, 0, list(lines))


def test_a_chart_has_a_bar_for_each_day():
    period = Period("", date(2026, 3, 1), date(2026, 3, 4))
    days = [group("2026-03-02", tokens=(60, 20, 40)), group("2026-03-04", tokens=(0, 0, 50))]
    (chart,) = charts(days, period)
    assert [day.x for day in chart.days] == [0, 1, 2, 3]
    assert [(one.kind, one.y, one.height) for one in chart.days[1].pieces] == [
        ("input", 60.0, 40.0), ("cached", 40.0, 20.0), ("output", 0.0, 40.0),
    ]  # fmt: skip
    assert [(one.y, one.height) for one in chart.days[3].pieces] == [(50.0, 50.0)]
    assert (chart.top, chart.days[0].pieces) == ("100", [])
    assert chart.summary == "Tokens by day, 2026-03-01 to 2026-03-04: at most 100 tokens, on 2026-03-02"


def test_cost_has_a_chart_where_something_has_a_price():
    period = Period("", date(2026, 3, 1), date(2026, 3, 2))
    _, cost = charts([group("2026-03-01", tokens=(1, 0, 0), cost=2_500_000)], period)
    assert (cost.name, cost.top) == ("Cost by day", "2.50")
    assert cost.days[0].pieces[0].height == 100


def test_a_long_time_begins_with_the_first_day_that_has_something():
    period = Period("", date(1970, 1, 1), date(2026, 3, 20))
    (chart,) = charts([group("2026-03-01", tokens=(1, 0, 0))], period)
    assert (chart.first, len(chart.days)) == (date(2026, 3, 1), 20)
    (chart,) = charts([group("1980-01-01", tokens=(1, 0, 0))], period)
    assert len(chart.days) == 1_000


def report(by, groups):
    return UsageReport(by, 0, 1, groups, 0, group(None), 1, False)


def cells(table):
    assert table.endswith(b"\r\n")
    return list(csv.reader(io.StringIO(table.decode(), newline="")))


def test_a_table_has_a_row_for_each_model_of_each_group():
    lines = [
        Line("acme", "big", 2, Tokens(100, 50, 10, 5), 2_500_000),
        Line(None, None, 1, Tokens(1, 1), None),
    ]
    table = csv_export.table(report("schedule", [group("s-1", lines=lines)]), {"s-1": 'Nightly, "all"'})
    header, first, second = cells(table)
    assert header == ["schedule", "name", *csv_export.COLUMNS]
    assert first == ["s-1", 'Nightly, "all"', "acme", "big", "2", "100", "10", "50", "5", "2.500000"]
    assert second == ["s-1", 'Nightly, "all"', "", "", "1", "1", "0", "1", "0", ""]
    by_model = cells(csv_export.table(report("model", [group("big", lines=lines[:1])]), {}))
    assert by_model[0] == list(csv_export.COLUMNS)
    assert by_model[1][:2] == ["acme", "big"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_is_never_a_formula(text):
    lines = [Line(text, text, 1, Tokens(), None)]
    row = cells(csv_export.table(report("target", [group(text, lines=lines)]), {}))[1]
    assert row[:3] == [f"'{text}"] * 3


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_a_target_is_called_the_table_keeps_its_shape(text):
    table = csv_export.table(report("target", [group(text, lines=[Line(text, text, 1, Tokens(), 1)])]), {})
    rows = cells(table)
    assert len(rows) == 2
    assert [cell.removeprefix("'") for cell in rows[1][:3]] == [text.removeprefix("'")] * 3
