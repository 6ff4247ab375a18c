from pathlib import Path

import pytest

from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.server.engines import make_artifacts
from runstead.server.settings import SettingError, load

REFUSED = ["ftp://x/y", "s3://", "s3:///prefix", "s3://?endpoint=http://x", "file://relative", "file:///"]


@pytest.mark.parametrize("url", REFUSED)
def test_a_place_that_cannot_be_is_refused(url):
    with pytest.raises(SettingError, match="RUNSTEAD_ARTIFACTS_URL must be a directory"):
        load({"RUNSTEAD_ARTIFACTS_URL": url})


@pytest.mark.parametrize("told", ["0", "-1", "5 GiB", "1e9", str(1 << 60)])
def test_a_size_that_cannot_be_is_refused(told):
    with pytest.raises(SettingError, match="RUNSTEAD_ARTIFACT_BYTES_MAX must be a number of bytes"):
        load({"RUNSTEAD_ARTIFACT_BYTES_MAX": told})


PLACES = [
    ({}, Path("runstead.db-artifacts")),
    ({"RUNSTEAD_DATABASE_URL": "sqlite:////var/lib/r.db"}, Path("/var/lib/r.db-artifacts")),
    ({"RUNSTEAD_ARTIFACTS_URL": "file:///srv/a"}, Path("/srv/a")),
    (
        {"RUNSTEAD_ARTIFACTS_URL": "some/where", "RUNSTEAD_DATABASE_URL": "postgresql://h/d"},
        Path("some/where"),
    ),
]


@pytest.mark.parametrize(("environment", "place"), PLACES)
def test_files_are_where_the_setting_says_or_beside_the_database(environment, place):
    made = make_artifacts(load(environment))
    assert isinstance(made, FilesystemArtifacts)
    assert made._root == place


def test_a_database_that_machines_share_has_no_place_beside_it():
    assert make_artifacts(load({"RUNSTEAD_DATABASE_URL": "postgresql://h/d"})) is None
