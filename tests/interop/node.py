"""Node.js and the published clients of the lock file, installed once per lock file, outside the repository."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
NODE_MAJOR_MIN = 20
INSTALL_S_MAX = 100
_MANIFEST = ("package.json", "package-lock.json", ".npmrc")
_INSTALL = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
# npm's messages where the registry cannot be reached or does not answer. Any other error is a fault of the lock file.
_UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|code E(403|404|5\d\d)\b"
)


class MissingError(Exception):
    """The clients cannot be run here. The message is the reason."""


def required() -> bool:
    """Whether the tests fail, instead of being skipped, without Node.js or without the registry."""
    return any(
        os.environ.get(name, "").lower() not in {"", "0", "false"} for name in ("CI", "RUNSTEAD_REQUIRE_NODE")
    )


def modules() -> Path:
    """Return the `node_modules` of the lock file. Of two concurrent calls the second waits, and uses the first's."""
    _check_programs()
    kept = _cache() / _key()
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (kept.parent / f"{kept.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _install(kept)
    return kept / "node_modules"


def _check_programs() -> None:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise MissingError(f"the published clients need {program}, which this machine does not have")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < NODE_MAJOR_MIN:
        raise MissingError(
            f"the published clients need node {NODE_MAJOR_MIN} or newer, and this is {version}"
        )


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or tempfile.gettempdir()
    return Path(base) / f"runstead-interop-{os.getuid()}"


def _key() -> str:
    digest = hashlib.sha256()
    for name in _MANIFEST:
        digest.update((HERE / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _install(kept: Path) -> None:
    making = Path(tempfile.mkdtemp(prefix=f"{kept.name}-", dir=kept.parent))
    try:
        for name in _MANIFEST:
            shutil.copyfile(HERE / name, making / name)
        try:
            done = subprocess.run(
                _INSTALL, cwd=making, capture_output=True, text=True, check=False, timeout=INSTALL_S_MAX
            )
        except subprocess.TimeoutExpired:
            raise MissingError(f"the npm registry did not answer within {INSTALL_S_MAX} s") from None
        if done.returncode != 0:
            if found := _UNREACHABLE.search(done.stderr):
                raise MissingError(f"the npm registry cannot be reached: {found[0]}")
            raise AssertionError(f"npm ci failed:\n{done.stderr}")
        making.rename(kept)
    finally:
        shutil.rmtree(making, ignore_errors=True)
