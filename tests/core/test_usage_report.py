"""Whatever the groups are, every run and token stands in one of them, and all of them in the total."""

import pytest
from hypothesis import given, strategies

from runstead import limits
from runstead.price import Price, PriceList
from runstead.usage import Reported
from runstead.usage_report import WAYS, Report, Reporter

NAMES = strategies.none() | strategies.sampled_from(["a", "b", "*"])
COUNTS = strategies.none() | strategies.integers(0, 10**6)
REPORTS = strategies.lists(
    strategies.builds(
        Report,
        seq=strategies.integers(1),
        root_run_id=strategies.sampled_from(["r-1", "r-2"]),
        created_at=strategies.integers(0, 3 * 86_400_000),
        target=NAMES,
        schedule_id=NAMES,
        created_by=NAMES,
        reported=strategies.builds(Reported, NAMES, NAMES, COUNTS, COUNTS, COUNTS, COUNTS),
    )
)
PRICES = PriceList([Price("p", "a", "a", 7, 11), Price("p", "b", "*", 1_000_000, 3)])


def told(by, reports, prices=PRICES):
    reporter = Reporter(by, prices)
    reporter.add(reports)
    return reporter.done(since=0, until=1, looked=len(reports), truncated=False)


@given(strategies.sampled_from(WAYS), REPORTS)
def test_groups_and_lines_add_up_to_the_total(by, reports):
    report = told(by, reports)
    assert report.total.runs == len(reports)
    for count in ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens"):
        total = sum(getattr(one.reported, count) or 0 for one in reports)
        assert getattr(report.total.tokens, count) == total
        assert sum(getattr(group.tokens, count) for group in report.groups) == total
        for group in (*report.groups, report.total):
            assert sum(getattr(line.tokens, count) for line in group.lines) == getattr(group.tokens, count)
    assert sum(group.runs for group in report.groups) == len(reports)
    assert sum(group.unpriced_runs for group in report.groups) == report.total.unpriced_runs
    # Rounded once each: the groups may differ from the total by half a millionth apiece.
    assert abs(sum(group.cost_micros for group in report.groups) - report.total.cost_micros) <= len(
        report.groups
    )
    assert len({group.key for group in report.groups}) == len(report.groups)


@given(REPORTS)
def test_what_has_no_price_is_counted_and_costs_nothing(reports):
    report = told("model", reports)
    unpriced = [one for one in reports if PRICES.of(one.reported.provider, one.reported.model) is None]
    assert report.total.unpriced_runs == len(unpriced)
    assert told("model", unpriced).total.cost_micros == 0
    assert all(
        (line.cost_micros is None) == (PRICES.of(line.provider, line.model) is None)
        for line in report.total.lines
    )


def report(**fields):
    given = {"seq": 1, "root_run_id": "root", "created_at": 0, "target": "task:a", "schedule_id": "s"}
    given |= {"created_by": "key", "reported": Reported("acme", "m", 10, 1)}
    return Report(**(given | fields))


@pytest.mark.parametrize(
    ("by", "key"),
    [
        ("model", "m"),
        ("target", "task:a"),
        ("schedule", "s"),
        ("key", "key"),
        ("day", "1970-01-01"),
        ("family", "root"),
    ],
)
def test_what_a_group_is_named_after(by, key):
    (group,) = told(by, [report(), report(seq=2)]).groups
    assert (group.key, group.runs) == (key, 2)


def test_days_come_newest_first_and_all_else_by_tokens():
    day = 86_400_000
    reports = [
        report(created_at=at, target=f"t-{at // day}", reported=Reported("a", "m", 10 + at // day))
        for at in (0, day, 2 * day)
    ]
    assert [group.key for group in told("day", reports).groups] == ["1970-01-03", "1970-01-02", "1970-01-01"]
    assert [group.key for group in told("target", reports).groups] == ["t-2", "t-1", "t-0"]


def test_groups_beyond_the_bound_stay_in_the_total(monkeypatch):
    monkeypatch.setattr(limits, "usage_groups_max", 2)
    found = told("target", [report(target=f"t-{n}", reported=Reported("a", "m", n)) for n in range(5)])
    assert [group.key for group in found.groups] == ["t-4", "t-3"]
    assert (found.groups_left_out, found.total.tokens.input_tokens) == (3, 10)
