"""How long the program takes to start: less than a second on a machine that does nothing else.

Measured by processor time, and against another start of Python, so that other work and a slow machine change nothing.
"""

import os
import subprocess
import sys

from tests.support.server import PROGRAM, environment, processor_s

#: Modules are compiled once, as an installation does.
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
CONTROL = [
    sys.executable,
    "-P",
    "-c",
    "import asyncio, email, http.client, json, logging, sqlite3, ssl, typing",
]


def control_s():
    before = os.times()
    subprocess.run(CONTROL, check=True, env=environment(**COMPILED))
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_it_is_ready_after_little_work(new_server, tmp_path):
    took = []
    for name in ("one.db", "two.db", "three.db"):
        server = new_server(
            name, program=PROGRAM, **COMPILED, PYTHONPYCACHEPREFIX=str(tmp_path / "compiled")
        ).start()
        took.append(processor_s(server.process))
        server.kill()
    control = min(control_s() for _ in range(3))
    print(f"processor time until ready: {min(took):.2f} s; {control:.2f} s of the control")  # noqa: T201 - shown by -rP
    assert min(took) < 12 * control
