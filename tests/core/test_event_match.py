"""Which events a match chooses."""

import pytest

from runstead.core.errors import Error
from runstead.core.runs.event_match import check_match, matches

DATA = {"order": {"lines": [{"sku": "a"}, {"sku": "b"}], "sum": 12.0, "paid": True, "note": None}, "7": "x"}


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (None, True),
        ({}, True),
        ({"order.lines.1.sku": "b"}, True),
        ({"order.lines.1.sku": "a"}, False),
        ({"order.lines.2.sku": "b"}, False),
        ({"order.lines.-1.sku": "b"}, False),
        ({"order.lines.sku": "b"}, False),
        ({"order.sum": 12}, True),
        ({"order.paid": True}, True),
        ({"order.paid": 1}, False),
        ({"order.note": None}, True),
        ({"order.missing": None}, False),
        ({"order.sum.deeper": 1}, False),
        ({"order.lines.0": {"sku": "a"}}, True),
        ({"7": "x", "order.sum": 12}, True),
        ({"7": "x", "order.sum": 13}, False),
    ],
)
def test_a_match_fits_where_the_data_has_equal_values_at_all_paths(match, fits):
    assert matches(match, DATA) is fits


def test_data_without_members_fits_only_without_conditions():
    assert matches(None, [1])
    assert matches({"0": 1}, [1])
    assert not matches({"a": 1}, None)
    assert not matches({"a": 1}, "a")


def test_a_value_that_is_too_long_is_refused_by_its_path():
    check_match("$.event.match", {"a": "x" * 253})
    with pytest.raises(Error, match="at most 255 bytes of JSON") as refused:
        check_match("$.event.match", {"a": "x" * 254})
    assert refused.value.errors[0][0] == "$.event.match.a"
