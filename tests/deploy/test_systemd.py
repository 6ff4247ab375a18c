"""The unit of deploy/systemd, by systemd's own checks."""

import subprocess
import sys
from pathlib import Path

import pytest

from .proxies import DEPLOY

PROGRAM = "/opt/runstead/bin/runstead"


@pytest.fixture
def unit(tmp_path):
    """The shipped unit, with a program that this machine has."""
    text = (DEPLOY / "systemd/runstead.service").read_text()
    assert f"ExecStart={PROGRAM} serve\n" in text
    copy = tmp_path / "runstead.service"
    copy.write_text(text.replace(PROGRAM, str(Path(sys.executable).with_name("runstead"))))
    return copy


def test_systemd_finds_no_mistake_in_the_unit(program, unit):
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [
        line for line in done.stderr.splitlines() if "runstead" in line
    ]  # not of the machine's other units
    assert (done.returncode, ours) == (0, [])


def test_the_service_is_exposed_to_two_of_ten_at_most(program, unit):
    done = subprocess.run(
        [program("systemd-analyze"), "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
