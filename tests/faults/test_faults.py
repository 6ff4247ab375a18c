"""Three replicas under load, one of them ten minutes fast, and one fault after the other: the history of every run can be
explained, `runstead db check` finds nothing, and so no write that was acknowledged is lost.
"""

import pytest

from . import faults
from .deployment import Deployment
from .load import Load
from .verdict import judge

PAUSE_S = 9


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    made = Deployment(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.__name__)
def test_under_load(deployment, fault):
    deployment.ready()
    load = Load(deployment.replicas, fault.__name__.replace("_", "-"))
    load.pass_by(faults.SPELL)
    fault(deployment, load, PAUSE_S)
    load.pass_by(faults.SPELL)
    deployment.ready()
    load.finish()
    verdict = judge(load)
    print(verdict.operations, "operations of", verdict.runs, "runs;", verdict.unknown, "unknown")  # noqa: T201
    assert verdict.clean, verdict
    assert deployment.violations() == ""
