"""`runstead init`: a new project that runs."""

import os
import subprocess
import sys

import pytest

FILES = {"app.py", "test_app.py", "pyproject.toml", "README.md", ".gitignore"}


def test_a_new_project_passes_its_tests(bare, tmp_path):
    done = bare("init", tmp_path / "My Billing")
    folder = tmp_path / "My Billing"
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in folder.iterdir()} == FILES
    assert 'App("my-billing")' in (folder / "app.py").read_text()
    assert "  runstead dev app:app" in done.out
    assert "  pip install pytest\n  python -m pytest" in done.out
    assert done.out.count(f"cd '{folder}'") == 2
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "2 passed" in tested.stdout


def test_a_folder_with_files_in_the_way_is_refused_and_unchanged(bare, tmp_path):
    (tmp_path / "app.py").write_text("mine")
    (tmp_path / "README.md").write_text("mine")
    done = bare("init", tmp_path)
    assert done.code == 1
    assert done.err == (
        f"runstead: {tmp_path} has app.py, README.md already: choose another folder, or move them away\n"
    )
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"app.py", "README.md"}
    assert (tmp_path / "app.py").read_text() == "mine"


def test_the_working_directory_is_the_default(bare, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = bare("init")
    assert {path.name for path in (tmp_path / "here").iterdir()} >= FILES
    assert "cd " not in done.out


def test_a_file_in_place_of_the_folder_is_one_sentence(bare, tmp_path):
    (tmp_path / "file").write_text("")
    done = bare("init", tmp_path / "file")
    assert done.code == 1
    assert done.err.startswith("runstead: the project was not created: ")


@pytest.mark.parametrize(("folder", "name"), [("Ärger & Söhne", "rger-s-hne"), ("__", "app"), ("a.b", "a-b")])
def test_the_project_is_named_after_its_folder(bare, tmp_path, folder, name):
    bare("init", tmp_path / folder)
    assert f'name = "{name}"' in (tmp_path / folder / "pyproject.toml").read_text()
