"""The launcher with a wrong clock changes every clock that the program reads.

Otherwise its fault would prove nothing.
"""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.server import environment

from .deployment import OFF_S, WRONG_CLOCK

SCRIPT = f"""
import runpy, time
before = time.time()
runpy.run_path({str(WRONG_CLOCK)!r}, run_name="launcher")
from runstead.core.clock import now_ms
print(now_ms() / 1000 - before, time.time() - before)
"""
#: Ways to read a wall clock that the launcher does not change.
OTHERS = re.compile(
    r"\b(datetime\.now|datetime\.utcnow|time\.clock_gettime\(time\.CLOCK_REALTIME|from time import)"
)
SERVER = ("commands", "core", "engines", "http", "loops", "ports", "security", "server", "web")


def test_the_launcher_changes_the_program_s_clock():
    command = [sys.executable, "-P", "-c", SCRIPT]
    done = subprocess.run(
        command, env=environment(WRONG_CLOCK_S=str(OFF_S)), capture_output=True, text=True, check=True
    )
    assert [round(float(word)) for word in done.stdout.split()] == pytest.approx([OFF_S] * 2, abs=2)


def test_the_server_reads_only_clocks_that_the_launcher_changes():
    package = Path(find_spec("runstead").origin).parent
    files = [file for name in SERVER for file in (package / name).rglob("*.py")]
    assert len(files) > 250
    assert {file.relative_to(package).parts[0] for file in files} == set(SERVER)
    assert [str(file) for file in files if OTHERS.search(file.read_text())] == []
