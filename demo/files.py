"""The files of this repository, which the demo's inventory lists."""

import os
import subprocess
from pathlib import Path


def repository_files(root: Path) -> list[str]:
    """Return the files that git tracks. Without git or a checkout, return every file that is not hidden or built."""
    # Inside a git hook these variables name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        command = ["git", "-C", str(root), "ls-files", "-z"]
        listed = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        names = {os.fsdecode(name) for name in listed.split(b"\0") if name}
    except (OSError, subprocess.CalledProcessError):
        names = set()
    if not names:
        found = (path.relative_to(root) for path in root.rglob("*"))
        built = {"__pycache__", "dist", "node_modules"}
        names = {
            path.as_posix()
            for path in found
            if built.isdisjoint(path.parts) and not any(part.startswith(".") for part in path.parts)
        }
    return sorted(name for name in names if (root / name).is_file() and not (root / name).is_symlink())


def lines_in(content: bytes) -> int:
    return content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
