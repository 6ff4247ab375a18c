"""The SBOM of a wheel: valid CycloneDX, complete, in the wheel and beside it, the same from the source distribution."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from requirements.sbom import locked, sbom

ROOT = Path(__file__).parents[2]


@pytest.fixture
def document(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    return json.loads(sbom("1.2.3"))


def build(source, into):
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1790000000"}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(into)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, env=environment)


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """What `make dist` makes of this tree."""
    into = tmp_path_factory.mktemp("dist")
    build(ROOT, into)
    return into


def test_the_sbom_is_valid_cyclonedx(document):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    assert document["metadata"]["timestamp"] == "2026-09-21T14:13:20+00:00"


def test_the_validator_refuses_another_document(document):
    document["components"][0]["licenses"] = [{"license": {"id": "no SPDX licence"}}]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


def test_the_sbom_lists_every_locked_package_with_its_hashes_and_licence(document):
    listed = {each["purl"]: each for each in document["components"]}
    packages = locked((ROOT / "requirements/run.txt").read_text())
    assert {f"pkg:pypi/{each.name}@{each.version}" for each in packages} == {
        purl for purl, each in listed.items() if "components" not in each
    }
    for each in packages:
        part = listed[f"pkg:pypi/{each.name}@{each.version}"]
        (reference,) = part["externalReferences"]
        assert {found["content"] for found in reference["hashes"]} == set(each.hashes)
        assert part["licenses"]


def test_the_sbom_lists_the_files_of_the_dashboard_that_the_wheel_contains(document, dist):
    (wheel,) = dist.glob("*.whl")
    files = [file for each in document["components"] for file in each.get("components", [])]
    assert files
    with zipfile.ZipFile(wheel) as archive:
        for file in files:
            digest = hashlib.sha256(archive.read(file["name"])).hexdigest()
            assert file["hashes"] == [{"alg": "SHA-256", "content": digest}]


def test_the_sbom_has_the_graph_of_dependencies(document):
    needs = {each["ref"]: each["dependsOn"] for each in document["dependencies"]}
    assert needs.keys() >= {each["bom-ref"] for each in document["components"] if "components" not in each}
    direct = {ref.split("/")[1].split("@")[0] for ref in needs["pkg:pypi/runstead@1.2.3"]}
    assert {"msgspec", "starlette", "pyjwt", "uplot"} <= direct
    assert not {"anyio", "cffi"} & direct
    (cffi,) = [below for ref, below in needs.items() if ref.startswith("pkg:pypi/cryptography@")]
    assert [ref.split("@")[0] for ref in cffi] == ["pkg:pypi/cffi"]


def test_the_wheel_contains_the_sbom_that_is_beside_it(dist):
    (wheel,), (beside,) = dist.glob("*.whl"), dist.glob("*.cdx.json")
    with zipfile.ZipFile(wheel) as archive:
        (inside,) = [name for name in archive.namelist() if ".dist-info/sboms/" in name]
        assert inside.endswith(f"/sboms/{beside.name}")
        assert archive.read(inside) == beside.read_bytes()
        names = {name.rpartition("/")[2] for name in archive.namelist() if ".dist-info/licenses/" in name}
    assert names == {"LICENSE", "htmx.LICENSE", "htmx-sse.LICENSE", "uplot.LICENSE"}
    assert json.loads(beside.read_text())["metadata"]["component"]["version"] in wheel.name


def test_the_wheel_has_the_site_of_the_documentation_where_it_was_built(document, dist):
    site = ROOT / "src/runstead/web/site"
    built = {path.relative_to(ROOT / "src").as_posix() for path in site.rglob("*") if path.is_file()}
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.startswith("runstead/web/site/")} == built
    listed = {each["name"] for each in document["components"]}
    assert (listed >= {"mkdocs-material", "mkdocs-swagger-ui-tag"}) is bool(built)


def test_a_wheel_of_the_source_distribution_has_the_same_sbom(dist, tmp_path):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.glob("runstead-*")
    build(tree, tmp_path / "dist")
    (first,), (second,) = dist.glob("*.cdx.json"), (tmp_path / "dist").glob("*.cdx.json")
    assert second.read_bytes() == first.read_bytes()
    (one,), (two,) = dist.glob("*.whl"), (tmp_path / "dist").glob("*.whl")
    assert one.read_bytes() == two.read_bytes()


def test_a_release_attests_the_sbom_and_uploads_packages_alone():
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    uploads = [step["with"] for step in jobs["build"]["steps"] if "upload-artifact" in step.get("uses", "")]
    assert {each["name"]: each["path"].split() for each in uploads} == {
        "dist": ["dist/*.whl", "dist/*.tar.gz"],
        "sbom": ["dist/*.cdx.json"],
    }
    (attest,) = [step for step in jobs["provenance"]["steps"] if step["uses"].startswith("actions/attest@")]
    assert attest["with"]["sbom-path"] == "${{ needs.build.outputs.sbom }}"
    assert jobs["publish"]["steps"][0]["with"]["name"] == "dist"
