"""
The software bill of materials of a wheel: what it installs and which files of others it contains.

CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/). The build writes it beside the wheel, and into the wheel's
`.dist-info/sboms/` (PEP 770). Versions and hashes come from requirements/run.txt, licences from docs/licences.md, files
from the README.md of the vendored ones, and from the documentation's site where it was built. The same files give the same bytes. Hatchling loads this file alone: it imports
nothing of the project.
"""

import hashlib
import json
import os
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parents[1]
STATIC = "src/runstead/web/static/vendor"
SITE = "src/runstead/web/site"
#: Packages of the group "docs" whose files the site contains, and the folders of these.
OF_SITE = {
    "mkdocs-material": ("assets/javascripts", "assets/stylesheets"),
    "mkdocs-swagger-ui-tag": ("assets/swagger-ui",),
}
_LOCKED = re.compile(
    r"^(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[^\s;]+)(?: ; (?P<marker>.+?))?"
    r"(?P<hashes>(?: \\\n +--hash=sha256:[0-9a-f]{64})+)\n(?P<via>(?: +#.*\n)*)",
    re.MULTILINE,
)
_LICENCE = re.compile(r"^\| ([a-z0-9.-]+) \| (\d\S*) \| ([^|]+) \|$", re.MULTILINE)
_VENDORED = re.compile(r"^\| `(\S+)` \| `(\S+)@(\S+) \S+` \| (\S+) \| `([0-9a-f]{64})` \|$", re.MULTILINE)


class Locked(NamedTuple):
    """A package of a lock file. `parents` are the packages that need it."""

    name: str
    version: str
    marker: str
    hashes: list[str]
    parents: set[str]


class Vendored(NamedTuple):
    """A file of an npm package that the wheel contains."""

    name: str
    package: str
    version: str
    licence: str
    sha256: str


def locked(lock: str) -> list[Locked]:
    """Return the packages of a lock file, by its text."""
    return [
        Locked(
            found["name"],
            found["version"],
            found["marker"] or "",
            re.findall(r"[0-9a-f]{64}", found["hashes"]),
            set(re.findall(r"# +(?:via )?([\w.-]+)", found["via"])) - {"via"},
        )
        for found in _LOCKED.finditer(lock)
    ]


def licences(page: str) -> dict[tuple[str, str], str]:
    """Return the SPDX expression of each package and version, by the text of docs/licences.md."""
    return {(name, version): licence for name, version, licence in _LICENCE.findall(page)}


def vendored(readme: str) -> list[Vendored]:
    """Return the vendored files, by the text of their README.md."""
    return [Vendored(*row) for row in _VENDORED.findall(readme)]


def sbom(version: str, root: Path = ROOT) -> str:
    """Return the bill of materials of that version as JSON. `SOURCE_DATE_EPOCH`, in seconds, is its time."""
    packages = locked((root / "requirements/run.txt").read_text())
    known = licences((root / "docs/licences.md").read_text())
    files = vendored((root / STATIC / "README.md").read_text())
    main = _component("application", "runstead", f"pkg:pypi/runstead@{version}", version, "Apache-2.0")
    parts = [_package(each, known[each.name, each.version]) for each in packages]
    parts += [
        _bundle(name, [each for each in files if each.package == name])
        for name in sorted({each.package for each in files})
    ]
    if (root / SITE / "index.html").is_file():
        of_site = [
            each for each in locked((root / "requirements/docs.txt").read_text()) if each.name in OF_SITE
        ]
        parts += [_of_site(each, known[each.name, each.version], root) for each in of_site]
    needs = {main["bom-ref"]: [each["bom-ref"] for each in parts if "components" in each]}
    for each in packages:
        needs.setdefault(_purl(each), [])
        for parent in each.parents:
            ref = next((_purl(other) for other in packages if other.name == parent), main["bom-ref"])
            needs.setdefault(ref, []).append(_purl(each))
    metadata: dict[str, Any] = {"lifecycles": [{"phase": "build"}], "component": main}
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        metadata["timestamp"] = datetime.fromtimestamp(int(epoch), UTC).isoformat()
    body = {
        "metadata": metadata,
        "components": parts,
        "dependencies": [{"ref": ref, "dependsOn": sorted(below)} for ref, below in sorted(needs.items())],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(body, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": serial.urn, "version": 1}
    return json.dumps(head | body, indent=1) + "\n"


def _purl(package: Locked) -> str:
    return f"pkg:pypi/{package.name}@{package.version}"


def _component(kind: str, name: str, purl: str, version: str, licence: str) -> dict[str, Any]:
    one = {"expression": licence} if " " in licence else {"license": {"id": licence}}
    return {
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "licenses": [one],
        "purl": purl,
    }


def _package(package: Locked, licence: str) -> dict[str, Any]:
    """A package from the registry: pip accepts any file of its version that has one of the hashes."""
    part = _component("library", package.name, _purl(package), package.version, licence)
    hashes = [{"alg": "SHA-256", "content": each} for each in package.hashes]
    part["externalReferences"] = [{"type": "distribution", "url": part["purl"], "hashes": hashes}]
    if package.marker:
        part["properties"] = [{"name": "runstead:environment-marker", "value": package.marker}]
    return part


def _of_site(package: Locked, licence: str, root: Path) -> dict[str, Any]:
    part = _component("library", package.name, _purl(package), package.version, licence)
    folders = [root / SITE / folder for folder in OF_SITE[package.name]]
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    part["components"] = [
        {
            "type": "file",
            "name": file.relative_to(root / "src").as_posix(),
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}],
        }
        for file in files
    ]
    return part


def _bundle(name: str, files: list[Vendored]) -> dict[str, Any]:
    version = files[0].version
    part = _component("library", name, f"pkg:npm/{name}@{version}", version, files[0].licence)
    part["components"] = [
        {
            "type": "file",
            "name": f"{STATIC.removeprefix('src/')}/{each.name}",
            "hashes": [{"alg": "SHA-256", "content": each.sha256}],
        }
        for each in files
    ]
    return part


class SbomHook(BuildHookInterface[Any]):
    """Writes the bill of materials beside the wheel, and names it to the wheel's builder."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Do nothing for an editable installation, which contains no files."""
        if version == "editable":
            return
        project = self.metadata.version
        path = Path(self.directory) / f"runstead-{project}.cdx.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sbom(project, Path(self.root)))
        build_data["sbom_files"].append(str(path))
