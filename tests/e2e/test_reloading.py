import os

from runstead.cli.reloader import Sources


def test_a_changed_created_or_removed_source_is_detected_once(tmp_path):
    (tmp_path / "jobs").mkdir()
    one = tmp_path / "jobs" / "one.py"
    one.write_text("")
    sources = Sources(tmp_path)
    assert sources.changed() is None
    os.utime(one, ns=(1, 1))
    assert sources.changed() == str(one)
    assert sources.changed() is None
    (tmp_path / "two.py").write_text("")
    assert sources.changed() == str(tmp_path / "two.py")
    one.unlink()
    assert sources.changed() == str(one)


def test_files_that_are_not_sources_of_the_app_are_ignored(tmp_path):
    sources = Sources(tmp_path)
    for folder in (".venv", "node_modules", "__pycache__", ".runstead"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "some.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert sources.changed() is None
