"""In every grouping, each run and token is in exactly one group, and the total covers all groups."""

import msgspec
import pytest
from hypothesis import given, strategies

from runstead.core import limits
from runstead.core.runs.run import RunStatus
from runstead.core.usage.price import Price, PriceList
from runstead.core.usage.report import WAYS, groups_of, total_of
from runstead.core.usage.rollup import Facts, facts, lines, uncoded

NAMES = strategies.none() | strategies.sampled_from(["a", "b", "*", ""])
COUNTS = strategies.integers(0, 10**6)
FACTS = strategies.lists(
    strategies.builds(
        Facts,
        strategies.integers(0, 3 * 86_400_000),
        strategies.just("task"),
        strategies.just(RunStatus.COMPLETED),
        strategies.none(),
        NAMES,
        NAMES,
        NAMES,
        strategies.sampled_from(["r-1", "r-2"]),
        NAMES,
        NAMES,
        strategies.tuples(COUNTS, COUNTS, COUNTS, COUNTS),
    )
)
PRICES = PriceList([Price("p", "a", "a", 7, 11), Price("p", "b", "*", 1_000_000, 3)])


def report(by, found):
    """The groups, and the total."""
    summed = lines(by, [("ended", one) for one in found])
    if by == "model":
        summed = [line._replace(name=line.model) for line in summed]
    return groups_of(by, summed, PRICES), total_of(lines("model", [("ended", one) for one in found]), PRICES)


@given(strategies.sampled_from(WAYS), FACTS)
def test_groups_and_lines_add_up_to_the_total(by, found):
    groups, total = report(by, found)
    assert total.runs == len(found)
    for place, count in enumerate(
        ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
    ):
        assert getattr(total.tokens, count) == sum(one.tokens[place] for one in found)
        assert sum(getattr(group.tokens, count) for group in groups) == getattr(total.tokens, count)
        for group in (*groups, total):
            assert sum(getattr(line.tokens, count) for line in group.lines) == getattr(group.tokens, count)
    assert sum(group.runs for group in groups) == len(found)
    assert sum(group.unpriced_runs for group in groups) == total.unpriced_runs
    # Each cost is rounded once, so each group may differ by half a millionth.
    assert abs(sum(group.cost_micros for group in groups) - total.cost_micros) <= len(groups)
    assert len({group.key for group in groups}) == len(groups)


@given(FACTS)
def test_runs_without_a_price_are_counted_and_cost_nothing(found):
    _, total = report("model", found)
    unpriced = [one for one in found if PRICES.of(one.provider, one.model) is None]
    assert total.unpriced_runs == len(unpriced)
    assert report("model", unpriced)[1].cost_micros == 0
    assert all(
        (line.cost_micros is None) == (PRICES.of(line.provider, line.model) is None) for line in total.lines
    )


def used(created_at=0, target="task:a", tokens=(10, 1, 0, 0), **metadata):
    names = ("inputTokens", "outputTokens", "cachedInputTokens", "reasoningTokens")
    told_of = {"provider": "acme", "model": "m"} | dict(zip(names, tokens, strict=True)) | metadata
    return facts(
        created_at, "task", RunStatus.COMPLETED, 5, target, "s", "key", "root", msgspec.json.encode(told_of)
    )


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
    ((group,), _) = report(by, [used(), used()])
    assert (group.key, group.runs) == (key, 2)


def test_days_are_newest_first_and_other_groups_by_tokens():
    day = 86_400_000
    found = [used(at, f"t-{at // day}", (10 + at // day, 0, 0, 0)) for at in (0, day, 2 * day)]
    assert [group.key for group in report("day", found)[0]] == ["1970-01-03", "1970-01-02", "1970-01-01"]
    assert [group.key for group in report("target", found)[0]] == ["t-2", "t-1", "t-0"]


def test_a_run_that_reported_nothing_only_counts_as_ended():
    silent = facts(0, "task", RunStatus.FAILED, 5, None, None, None, "root", None)
    assert [(line.name, line.runs) for line in lines("ended", [("ended", silent), ("ended", used())])] == [
        ("", 2)
    ]
    assert [line.runs for line in lines("model", [("ended", silent), ("ended", used())])] == [1]


def test_names_are_cut_and_hold_no_nul_and_absurd_counts_end_at_a_bound():
    found = used(model="m" * 1_000, provider="a\0b", tokens=(1 << 60, 1, 0, 0))
    assert (found.model, found.provider) == ("m" * limits.name_chars_max, "a\N{REPLACEMENT CHARACTER}b")
    assert found.tokens == (limits.tokens_per_run_max, 1, 0, 0)


def test_a_missing_name_differs_from_an_empty_name():
    assert [uncoded(key) for key in ("", ":", "::a")] == [None, "", ":a"]
