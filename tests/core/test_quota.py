"""Quotas of the instance and of projects."""

import pytest

from runstead.core.identity.quota import BOUNDS, Quota, effective, parse_quota


def test_the_setting_lists_names_and_numbers():
    assert parse_quota("") == Quota()
    assert parse_quota("runs_pending=100, streams=5") == Quota(runs_pending=100, streams=5)


@pytest.mark.parametrize(
    "text", ["runs", "runs=1", "streams=0", "streams=x", "streams=-1", "streams=99999999", "keys=٣"]
)
def test_a_wrong_pair_is_named(text):
    with pytest.raises(ValueError, match=text):
        parse_quota(f"members=2,{text}")


def test_a_projects_own_quota_replaces_the_instances():
    default = Quota(streams=5, keys=3)
    own = Quota(project_id="p", streams=9)
    assert effective(own, default) == Quota(project_id="p", streams=9, keys=3)
    assert effective(None, default) is default


def test_every_quota_has_a_bound():
    assert {*BOUNDS} == {*Quota.__struct_fields__} - {"project_id", "updated_at"}
