"""Backups of a store that a server writes to, and what they do when something fails."""

import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress

import httpx2
import pytest

from runstead.core import limits
from runstead.core.backup import BackupError, Manifest, decode, encode
from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.sdk import Client
from tests.support.server import Server, environment, runstead
from tests.support.until import until


def files(place):
    return {path.name: path for path in place.rglob("*") if path.is_file() and path.name != ".lock"}


def flip(path):
    """Flip one bit in the middle of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_lost_machine_is_restored_with_every_write_from_before_the_backup(tool, tmp_path, monkeypatch):
    machine = tmp_path / "machine"
    machine.mkdir()
    server = Server(machine, machine / "runstead.db").start()
    place, written, stop = tmp_path / "place", [], threading.Event()
    with server.api() as api, Client(server.url, server.key) as client:
        project_id = api.project_id()

        def write():
            with suppress(httpx2.HTTPError):  # the machine is lost
                while not stop.is_set():
                    run_id = api.create(project_id, public_id=f"run-{len(written)}")["run_id"]
                    written.append(run_id)

        writer = threading.Thread(target=write)
        writer.start()
        until(lambda: len(written) > 20, "writes")
        client.artifacts.store(written[0], "a.csv", b"a,b")
        before, waited = len(written), []

        def advance(step, done, _total):
            """In the middle of the copy, wait for later writes: it blocks none, and none starts it again."""
            if step == "copying pages" and len(waited) < 5:
                waited.append(done)
                reached = len(written)
                until(lambda: len(written) > reached, "a write during the copy")

        monkeypatch.setattr(limits, "backup_pages_max", 10)
        saved = tool.save(place, f"sqlite:///{server.database}", advance)
        assert waited == sorted(set(waited))
        assert len(waited) == 5
        server.kill()
        stop.set()
        writer.join()
    shutil.rmtree(machine)
    assert len(written) > before

    restored = tool.restore(place)
    assert (restored.runs, restored.violations, restored.artifacts) == (saved.manifest.runs, [], 1)
    other = Server(tmp_path / "other-machine", tmp_path / "other-machine" / "runstead.db").start()
    with other.api() as api, Client(other.url, other.key) as client:
        lost = [run for run in written[:before] if api.http.get(f"/runs/{run}").status_code != 200]
        assert lost == []
        assert client.artifacts.read(written[0], "a.csv") == b"a,b"
    other.terminate()


def test_a_second_backup_copies_only_new_artifacts(tool, client, tmp_path):
    place = tmp_path / "place"
    first = tool.save(place)
    assert (first.copied, len(first.manifest.artifacts)) == (2, 2)  # equal bytes are stored once
    client.artifacts.store("run-2", "new.csv", b"new")
    second = tool.save(place)
    assert (second.copied, len(second.manifest.artifacts)) == (1, 3)
    assert [tool.verify(place, each.name) for each in (first, second)] == [[], []]
    assert {path.stat().st_mode & 0o077 for path in place.rglob("*")} == {0}


def test_keep_deletes_older_backups_and_what_only_they_need(tool, client, tmp_path):
    place = tmp_path / "place"
    client.artifacts.store("run-2", "replaced.csv", b"before")
    first = tool.save(place)
    client.artifacts.store("run-2", "replaced.csv", b"after")
    second = tool.save(place, keep=1)
    assert second.pruned == [first.name]
    gone = first.manifest.artifacts.keys() - second.manifest.artifacts.keys()
    assert len(gone) == 1
    assert files(place).keys() == {"manifest.json", "runstead.db", *second.manifest.artifacts}
    assert tool.verify(place) == []


def test_a_damaged_manifest_keeps_every_other_backup(tool, tmp_path):
    place = tmp_path / "place"
    first = tool.save(place)
    flip(place / first.name / "manifest.json")
    with pytest.raises(BackupError, match="is complete, but no other was deleted"):
        tool.save(place, keep=1)
    assert (place / first.name / "runstead.db").exists()
    assert tool.verify(place) == []


KILLED_BEFORE_THE_MANIFEST = """
import sys, time
from runstead.engines.backups.folder import FolderPlace
put = FolderPlace.put
async def stopped(self, name, chunks):
    if name.endswith("manifest.json"):
        print("reached", flush=True)
        time.sleep(600)
    await put(self, name, chunks)
FolderPlace.put = stopped
from runstead.cli import main
main(sys.argv[1:])
"""


def test_a_backup_that_was_killed_is_none(tool, server, tmp_path):
    place = tmp_path / "place"
    words = ("backup", str(place), "--database", f"sqlite:///{server.database}")
    killed = subprocess.Popen(
        [sys.executable, "-P", "-c", KILLED_BEFORE_THE_MANIFEST, *words],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with killed:
        assert killed.stdout.readline() == "reached\n"
        with pytest.raises(BackupError, match=r"another backup to .* is under way"):
            tool.save(place)
        killed.kill()
    code, _, stderr = runstead("verify-backup", str(place), cwd=tmp_path)
    assert (code, "has no manifest.json: it was interrupted" in stderr) == (1, True)
    with pytest.raises(BackupError, match="no complete backup"):
        tool.restore(place)
    (place / "incoming" / "runstead.db").write_bytes(b"the first pages of a copy that was killed")
    saved = tool.save(place)
    assert tool.verify(place) == []
    [interrupted] = [path for path in place.glob("2*") if path.name != saved.name]
    interrupted.rename(place / "2999-01-01T00-00-00.000Z")  # newer than the complete one
    restored = tool.restore(place)
    assert (restored.name, len(restored.notes), "skipped" in restored.notes[0]) == (saved.name, 1, True)
    assert tool.save(place, keep=1).pruned == [saved.name, "2999-01-01T00-00-00.000Z"]


@pytest.mark.parametrize("damage", [flip, os.unlink])
@pytest.mark.parametrize("kind", ["database", "artifact", "manifest"])
def test_damage_is_found_and_nothing_is_restored(tool, tmp_path, kind, damage):
    place = tmp_path / "place"
    saved = tool.save(place)
    content = max(saved.manifest.artifacts, key=saved.manifest.artifacts.get)
    name = {"database": "runstead.db", "artifact": content, "manifest": "manifest.json"}[kind]
    damage(files(place)[name])
    code, stdout, stderr = runstead("verify-backup", str(place), cwd=tmp_path)
    words = "missing" if damage is os.unlink else "damaged"
    if (kind, words) == ("manifest", "missing"):
        words = "has no manifest.json"
    assert code == 1
    assert words in stdout + stderr
    assert name in stdout + stderr
    with pytest.raises(BackupError):
        tool.restore(place)
    assert [path.name for path in (tmp_path / "other-machine").glob("runstead.db")] == []


def test_an_artifact_that_is_deleted_during_the_backup_is_reported(
    tool, server, client, tmp_path, monkeypatch
):
    with server.api() as api:
        run_id = api.create(api.project_id())["run_id"]
        client.artifacts.store(run_id, "gone.csv", b"gone")
        api.complete(run_id)
        [content] = [path for path in server.directory.rglob("runs/*/*") if path.read_bytes() == b"gone"]
        read = FilesystemArtifacts.read

        def deleted_first(self, *place):
            if content.exists():
                api.http.delete(f"/runs/{run_id}").raise_for_status()
                until(lambda: not content.exists(), "the artifact to be deleted")
            return read(self, *place)

        monkeypatch.setattr(FilesystemArtifacts, "read", deleted_first)
        saved = tool.save(tmp_path / "place")
    assert [(each.run_id, each.deleted) for each in saved.manifest.missing] == [(run_id, True)]
    assert tool.verify(tmp_path / "place") == []
    assert tool.restore(tmp_path / "place").violations == []


@pytest.mark.parametrize("damage", [flip, os.unlink])
def test_an_artifact_that_its_store_lost_makes_the_command_fail(server, client, tmp_path, damage):
    client.artifacts.store("run-2", "lost.csv", b"to be lost")
    [content] = [path for path in server.directory.rglob("runs/*/*") if path.read_bytes() == b"to be lost"]
    damage(content)
    place, database = str(tmp_path / "place"), f"sqlite:///{server.database}"
    code, stdout, stderr = runstead("backup", place, "--database", database, cwd=tmp_path)
    assert (code, stdout.startswith("backup 20")) == (1, True)
    assert "lacks 1 artifact(s), or has other bytes, of the runs run-2" in stderr
    assert runstead("verify-backup", place, cwd=tmp_path)[0] == 0
    words = ("restore", place, "--database", f"sqlite:///{tmp_path / 'new.db'}")
    code, stdout, _ = runstead(*words, cwd=tmp_path)
    assert (code, "the backup lacks 1 artifact(s) that its database names" in stdout) == (0, True)
    client.artifacts.store("run-2", "lost.csv", b"again")  # replaces it


def test_a_full_disk_leaves_no_backup(tool, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    place = tmp_path / "place"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BackupError, match="No space left on device"):
            tool.save(place)
    assert files(place) == {}
    with pytest.raises(BackupError, match="no complete backup"):
        tool.verify(place)


@pytest.mark.parametrize("existing", ["runstead.db", "runstead.db-wal"])
def test_restore_refuses_files_of_another_store(tool, tmp_path, existing):
    tool.save(tmp_path / "place")
    target = tmp_path / "other-machine"
    target.mkdir()
    (target / existing).write_bytes(b"")
    with pytest.raises(BackupError, match=f"{existing} exists: restore to another file"):
        tool.restore(tmp_path / "place")
    assert [path.name for path in target.iterdir()] == [existing]


def test_restore_names_the_encryption_key_that_is_not_in_the_backup(tool, server, client, tmp_path):
    client.webhooks.create(server.url, ["run.completed"])
    place, target = str(tmp_path / "place"), tmp_path / "new.db"
    code, stdout, _ = runstead("backup", place, "--database", f"sqlite:///{server.database}", cwd=tmp_path)
    assert (code, "the encryption key is not in the backup" in stdout) == (0, True)
    key = server.directory / "runstead.db-encryption-key"
    assert [path for path in (tmp_path / "place").rglob("*") if key.name in path.name] == []
    words = ("restore", place, "--database", f"sqlite:///{target}")
    code, stdout, stderr = runstead(*words, cwd=tmp_path)
    assert (code, "which is missing" in stdout, "RUNSTEAD_ENCRYPTION_KEY" in stderr) == (0, True, True)
    shutil.copyfile(key, tmp_path / "new.db-encryption-key")
    code, stdout, _ = runstead("db", "check", "--database", f"sqlite:///{target}", cwd=tmp_path)
    assert (code, "which is missing" in stdout) == (0, False)


def test_a_backup_without_artifacts_says_so(tool, tmp_path):
    assert tool.save(tmp_path / "place", without_artifacts=True).manifest.artifacts is None
    assert tool.verify(tmp_path / "place") == []
    assert tool.restore(tmp_path / "place").artifacts is None


def test_a_bucket_holds_backups_too(tool, client, s3_server, tmp_path):
    client.artifacts.store("run-1", "large.bin", os.urandom(6 << 20))
    place = f"s3://artifacts/backups?endpoint={s3_server}&region=us-east-1"
    first = tool.save(place)
    assert first.copied > 2
    second = tool.save(place, keep=1)
    assert (second.copied, second.pruned, tool.verify(place)) == (0, [first.name], [])
    assert tool.restore(place).violations == []
    from runstead.engines.artifacts.s3 import bucket

    _, store = bucket(place)
    store.put(f"{second.name}/runstead.db", b"x")
    with pytest.raises(BackupError, match=r"runstead\.db in s3://artifacts/backups is damaged"):
        tool.verify(place)
    store.delete(f"{second.name}/manifest.json")
    with pytest.raises(BackupError, match="has no manifest"):
        tool.verify(place)
    with pytest.raises(BackupError, match="cannot use s3://missing/x for backups"):
        tool.save(f"s3://missing/x?endpoint={s3_server}&region=us-east-1")


def test_a_store_that_lacks_a_migration_is_not_backed_up(tool, tmp_path):
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(ValueError, match=r"^the database lacks the migration \w+: back it up"):
        tool.save(tmp_path / "place", f"sqlite:///{empty}")


def test_a_manifest_of_a_newer_format_is_refused():
    manifest = Manifest(
        created_at=0,
        version="0.1.0",
        engine="sqlite",
        migration="0001",
        database_bytes=1,
        database_sha256="",
        runs=0,
        artifacts={},
    )
    encoded = encode(manifest)
    assert decode("x", encoded) == manifest
    with pytest.raises(BackupError, match="has the format 2, and this program reads 1"):
        decode("x", encoded.replace(b'"format":1', b'"format":2'))
    with pytest.raises(BackupError, match="is damaged"):
        decode("x", encoded.replace(b'"runs":0', b'"runs":1'))
