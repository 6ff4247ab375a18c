"""Options of `runstead bench`."""

import pytest

from runstead.cli.bench import bench


def test_recover_without_rate_is_refused(capsys):
    with pytest.raises(SystemExit):
        bench(key="k", recover=10.0)
    assert "--recover needs --rate" in capsys.readouterr().err
