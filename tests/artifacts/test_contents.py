"""What keeps the bytes of artifacts: one suite, every engine. S3 is moto's server, a process of its own."""

import asyncio
import hashlib
import os
import uuid

import pytest

from runstead.core.errors import Error
from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.ports.artifact_store import TooLargeError

MIB = 1 << 20


@pytest.fixture(params=["filesystem", "s3"])
async def kept(request, tmp_path, monkeypatch):
    if request.param == "filesystem":
        engine = FilesystemArtifacts(tmp_path / "artifacts")
    else:
        server = request.getfixturevalue("s3_server")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        from runstead.engines.artifacts.s3 import S3Artifacts

        engine = S3Artifacts(f"s3://artifacts/{uuid.uuid4()}?endpoint={server}&region=us-east-1")
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
def run():
    return str(uuid.uuid4())


async def chunks(*parts):
    for part in parts:
        yield part


async def read(kept, run, content, start=0, end=None):
    got = kept.read(run, content.key, start, content.size if end is None else end)
    return b"".join([chunk async for chunk in got])


async def test_what_was_put_is_read_whole_and_in_part(kept, run):
    data = os.urandom(11 * MIB)
    content = await kept.put(run, chunks(data[:3], b"", data[3 : 7 * MIB], data[7 * MIB :]), 11 * MIB)
    assert (content.size, content.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert await read(kept, run, content) == data
    assert await read(kept, run, content, 5, 5 + MIB) == data[5 : 5 + MIB]
    assert await read(kept, run, content, len(data) - 1) == data[-1:]


async def test_nothing_is_an_artifact_too(kept, run):
    content = await kept.put(run, chunks(), 10)
    assert (content.size, content.sha256) == (0, hashlib.sha256().hexdigest())
    assert await read(kept, run, content) == b""


async def test_the_same_bytes_of_two_runs_are_removed_one_by_one(kept, run):
    other = str(uuid.uuid4())
    mine, again = [await kept.put(run, chunks(b"same"), 10) for _ in range(2)]
    theirs = await kept.put(other, chunks(b"same"), 10)
    assert len({mine.key, again.key, theirs.key}) == 3
    await kept.remove(run, mine.key)
    assert await read(kept, run, again) == b"same"
    await kept.remove_all(run)
    await kept.remove_all(run)
    assert await read(kept, other, theirs) == b"same"
    with pytest.raises(FileNotFoundError):
        await read(kept, run, again)
    await kept.remove(run, again.key)


async def test_more_than_is_allowed_leaves_nothing(kept, run, tmp_path):
    with pytest.raises(TooLargeError):
        await kept.put(run, chunks(b"12345", b"6"), 5)
    assert (await kept.put(run, chunks(b"12345"), 5)).size == 5
    assert list((tmp_path / "artifacts" / "incoming").glob("*")) == []


async def test_an_upload_that_breaks_off_leaves_nothing(kept, run, tmp_path):
    async def broken():
        yield b"x" * MIB
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await kept.put(run, broken(), 10 * MIB)
    assert [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()] == []


async def test_names_that_are_paths_name_nothing(kept, run):
    for bad in ("../../etc/passwd", "a/b", "", "..", "x" * 200):
        for asked in ((bad, "0"), (run, bad)):
            with pytest.raises(FileNotFoundError):
                await anext(kept.read(*asked, 0, 1))


# Files


@pytest.fixture
async def files(tmp_path):
    engine = FilesystemArtifacts(tmp_path)
    await engine.open()
    return engine


def held(root):
    return {path.stat().st_ino for path in root.rglob("*") if path.is_file()}


async def test_the_same_bytes_take_no_more_room(files, tmp_path):
    for number in range(3):
        await files.put(str(uuid.UUID(int=number)), chunks(b"same"), 10)
    assert len(held(tmp_path)) == 1
    for number in range(3):
        await files.remove_all(str(uuid.UUID(int=number)))
    assert held(tmp_path) == set()


async def test_a_content_that_is_removed_while_it_is_stored_again_is_there(files, run):
    """Whoever removes looks who has it before it takes the name away; whoever stores may link to it in between."""

    async def again(number):
        mine = str(uuid.UUID(int=number))
        for _ in range(20):
            content = await files.put(mine, chunks(b"same"), 10)
            assert await read(files, mine, content) == b"same"
            await files.remove_all(mine)

    await asyncio.gather(*map(again, range(4)))


async def test_a_file_system_without_links_keeps_copies(files, tmp_path, run, monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    mine = [await files.put(run, chunks(b"same"), 10) for _ in range(2)]
    assert len(held(tmp_path)) == 2
    assert await read(files, run, mine[0]) == b"same"
    await files.remove_all(run)
    assert held(tmp_path) == set()


async def test_what_a_crash_left_half_way_is_removed_a_day_later(files, tmp_path):
    old, young = tmp_path / "incoming" / "old", tmp_path / "incoming" / "young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    await files.open()
    assert (old.exists(), young.exists()) == (False, True)


async def test_a_full_disk_is_told_as_such(files, run, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Error, match="No space left on device") as caught:
        await files.put(run, chunks(b"x"), 10)
    assert caught.value.code == "STORE_UNAVAILABLE"


async def test_a_place_that_cannot_be_used_stops_the_program(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="cannot keep artifacts in"):
        await FilesystemArtifacts(tmp_path / "file" / "below").open()


async def test_without_a_place_there_is_one_for_the_time_being():
    engine = FilesystemArtifacts(None)
    await engine.open()
    await engine.put(str(uuid.uuid4()), chunks(b"x"), 1)
    place = engine._root
    await engine.close()
    assert not place.exists()


async def test_a_bucket_that_is_not_there_stops_the_program(s3_server, monkeypatch):
    from runstead.engines.artifacts.s3 import S3Artifacts

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    engine = S3Artifacts(f"s3://nobodys/x?endpoint={s3_server}&region=us-east-1")
    with pytest.raises(RuntimeError, match="cannot keep artifacts in s3://nobodys/x"):
        await engine.open()


@pytest.mark.parametrize("stored", ["filesystem", "s3"])
async def test_a_content_keeps_its_key_in_every_other_store(
    kept, run, stored, tmp_path, request, monkeypatch
):
    if stored == "filesystem":
        first = FilesystemArtifacts(tmp_path / "first")
    else:
        server = request.getfixturevalue("s3_server")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        from runstead.engines.artifacts.s3 import S3Artifacts

        first = S3Artifacts(f"s3://artifacts/{uuid.uuid4()}?endpoint={server}&region=us-east-1")
    await first.open()
    content = await first.put(run, chunks(b"one", b"two"), MIB)
    for _ in range(2):  # a copy that was interrupted writes it again
        copied = await kept.put(run, first.read(run, content.key, 0, content.size), MIB, content.key)
        assert copied == content
    assert await read(kept, run, content) == b"onetwo"
    await kept.remove_all(run)
    with pytest.raises(FileNotFoundError):
        await read(kept, run, content)
    if isinstance(kept, FilesystemArtifacts):
        assert [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()] == []
    await first.close()
