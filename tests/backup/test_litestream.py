"""Litestream as docs/backup.md describes it: everything from before the last upload is restored."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import pytest

from tests.docs.pages import blocks, name
from tests.support.server import Server, environment, runstead
from tests.support.until import until

pytestmark = pytest.mark.long

REPLICATE, RESTORE = next(
    block.text.replace("$ ", "").splitlines()
    for block in blocks("console")
    if name(block.page) == "docs/backup.md" and "litestream" in block.text
)


def run_ids(path):
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT run_id FROM runs")}


def test_a_lost_machine_loses_nothing_from_before_the_last_upload(tmp_path):
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("litestream", path=programs) is None:
        pytest.skip("this machine has no litestream")
    machine, restored = tmp_path / "machine", tmp_path / "restored.db"
    machine.mkdir()

    def fitted(command):
        command = command.replace("/var/lib/runstead/runstead.db", str(machine / "runstead.db"))
        command = command.replace("/var/lib/runstead/restored.db", str(restored))
        return command.replace("s3://backups/litestream", f"file://{tmp_path}/replica").split()

    def restore():
        restored.unlink(missing_ok=True)
        done = subprocess.run(fitted(RESTORE), env=settings, capture_output=True, check=False)
        return done.returncode == 0

    settings = environment(PATH=programs)
    server, written, stop = Server(machine, machine / "runstead.db").start(), [], threading.Event()
    with (tmp_path / "log").open("w") as log:
        litestream = subprocess.Popen(fitted(REPLICATE), env=settings, stdout=log, stderr=log)
    with server.api() as api:
        project_id = api.project_id()

        def write():
            with suppress(httpx2.HTTPError):  # the machine is lost
                while not stop.is_set():
                    written.append(api.create(project_id, public_id=f"run-{len(written)}")["run_id"])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            until(lambda: len(written) > 20, "writes")
            uploaded = len(written)
            until(lambda: restore() and len(run_ids(restored)) >= uploaded, "an upload of the first writes")
        finally:
            litestream.kill()
            server.kill()
            stop.set()
            writer.join()
            litestream.wait()
    shutil.rmtree(machine)
    assert restore()
    code, stdout, _ = runstead("db", "check", "--json", "--database", f"sqlite:///{restored}", cwd=tmp_path)
    assert (code, '"violations":[]' in stdout) == (0, True)
    lost = set(written[:uploaded]) - run_ids(restored)
    assert lost == set()
