"""Several processes use one file at the same time: none of them gets "database is locked"."""

import json
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

from tests.support.server import PROGRAM, Api, environment, runstead
from tests.support.until import until

from .acknowledged import WriteRecorder
from .integrity import check_whole, intact


def test_commands_beside_a_busy_server_succeed_and_do_not_disturb_it(server, tmp_path):
    store = f"sqlite:///{server.database}"
    load = subprocess.Popen(
        [*PROGRAM, "bench", "--url", server.url, "--key", server.key, "--seconds", "2", "--json"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    made = {}
    number = 0
    try:
        with ThreadPoolExecutor(2) as pool:
            while load.poll() is None:
                slugs = [f"shop-{number + each}" for each in range(2)]
                number += len(slugs)
                commands = [("projects", "create", slug, "--database", store, "--json") for slug in slugs]
                for slug, done in zip(
                    slugs, pool.map(lambda c: runstead(*c, cwd=tmp_path), commands), strict=True
                ):
                    assert (done[0], done[2]) == (0, ""), done
                    made[slug] = json.loads(done[1])["id"]
                key = runstead("keys", "create", "--project", slugs[0], "--database", store, cwd=tmp_path)
                assert key[0] == 0, key
                with Api(server.url, key[1].strip()) as api:
                    assert api.project_id(slugs[0]) == made[slugs[0]]
        report, trouble = load.communicate(timeout=60)
    finally:
        load.kill()
        load.wait()
    assert trouble == ""
    report = json.loads(report)
    assert report["errors"]["count"] == 0, report["errors"]
    assert report["lifecycles"] > 0
    check_whole(server.database)
    assert intact(server.database)
    assert server.log == ""


def test_a_new_file_may_be_opened_by_several_programs_at_once(tmp_path):
    store = "sqlite:///new.db"
    slugs = [f"shop-{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(
                lambda slug: runstead("projects", "create", slug, "--database", store, cwd=tmp_path), slugs
            )
        )
    assert [(code, stderr) for code, _, stderr in answers] == [(0, "")] * 6
    _, listed, _ = runstead("projects", "list", "--database", store, "--json", cwd=tmp_path)
    assert sorted(project["slug"] for project in json.loads(listed)) == slugs


def test_a_program_waits_while_another_creates_the_file(tmp_path):
    file = tmp_path / "new.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE half_way (n INTEGER)")
        program = subprocess.Popen(
            [*PROGRAM, "projects", "create", "shop", "--database", f"sqlite:///{file}"],
            cwd=tmp_path,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until(
                lambda: program.poll() is not None or has_open(program, file), "the program to open the file"
            )
            with suppress(subprocess.TimeoutExpired):  # one that does not wait would give up in this time
                program.wait(0.3)
            other.execute("ROLLBACK")
            assert program.wait(60) == 0, program.stderr.read()
        finally:
            program.kill()
            program.communicate()


def has_open(process, file):
    opened = Path(f"/proc/{process.pid}/fd")
    if not opened.exists():  # not Linux: the wait below has to do
        return True
    with suppress(OSError):
        return any(each.resolve() == file.resolve() for each in opened.iterdir())
    return False


def test_servers_on_one_file_neither_lock_each_other_out_nor_lose_a_write(new_server):
    """One should serve: but during a rolling update two do, for a while."""
    old, new = new_server().start(), new_server().start()
    with old.api() as api:
        project_id = api.project_id()
    recorders = [WriteRecorder(old, project_id, "old"), WriteRecorder(new, project_id, "new")]
    for recorder in recorders:
        while recorder.acknowledged < 50:
            assert not recorder.refusals, recorder.refusals[0].text
    stored_by = [recorder.stop() for recorder in recorders]
    assert not any(recorder.refusals for recorder in stored_by)
    stored = check_whole(new.database)
    for recorder in stored_by:
        recorder.check(stored)
