"""docs/licences.md lists every package with the licence of its metadata, and no licence beyond the accepted ones."""

import json
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.licenses import canonicalize_license_expression

from requirements.licences import PAGE, STATED, licence, locks, rewritten
from requirements.sbom import STATIC, Locked, licences, vendored

ROOT = Path(__file__).parents[2]
# Licences that let everyone use, change and sell, and that put no condition on the code beside.
PERMISSIVE = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"}
# Of programs and libraries that only tests run: their sources may be under conditions, what they test may not.
OF_TESTS = PERMISSIVE | {"BlueOak-1.0.0", "CNRI-Python", "MPL-2.0"}
RUN, OTHER = locks()
LISTED = licences(PAGE.read_text())


def permitted(expression, accepted):
    """All licences of "A AND B" are accepted, and one of "A OR B"."""
    each = [set(part.strip("() ").split(" OR ")) for part in expression.split(" AND ")]
    return all(choices & accepted for choices in each)


def test_the_page_is_what_make_lock_writes():
    assert rewritten(PAGE.read_text()) == PAGE.read_text()


def test_every_package_of_the_lock_files_is_listed():
    assert {(each.name, each.version) for each in [*RUN, *OTHER]} <= LISTED.keys()


@pytest.mark.parametrize("package", RUN, ids=lambda package: package.name)
def test_an_installation_has_permissive_licences_alone(package):
    expression = LISTED[package.name, package.version]
    assert canonicalize_license_expression(expression) == expression
    assert permitted(expression, PERMISSIVE), expression


def test_what_tests_install_has_accepted_licences():
    found = {each.name: LISTED[each.name, each.version] for each in OTHER}
    assert {
        name: expression for name, expression in found.items() if not permitted(expression, OF_TESTS)
    } == {}
    assert all(canonicalize_license_expression(expression) == expression for expression in found.values())


def test_what_npm_installs_for_tests_has_accepted_licences():
    packages = json.loads((ROOT / "tests/interop/package-lock.json").read_text())["packages"]
    stated = {"node_modules/format": "MIT"}  # in its readme alone
    found = {name: stated.get(name) or each["license"] for name, each in packages.items() if name}
    assert {
        name: expression for name, expression in found.items() if not permitted(expression, OF_TESTS)
    } == {}


@pytest.mark.parametrize(
    "expression", ["GPL-3.0-only", "MIT AND GPL-3.0-only", "Proprietary", "AGPL-3.0-only OR SSPL-1.0"]
)
def test_other_licences_are_refused(expression):
    assert not permitted(expression, OF_TESTS)


def test_a_package_without_a_licence_in_its_metadata_is_refused(monkeypatch):
    monkeypatch.delitem(STATED, "cronsim")
    with pytest.raises(LookupError, match="the metadata of cronsim has no SPDX licence"):
        licence(Locked("cronsim", "2.8", "", [], set()), {})


def test_the_installed_packages_of_the_program_are_the_listed_ones():
    for each in RUN:
        if not each.marker:
            assert metadata.version(each.name) == each.version


def test_the_files_of_the_dashboard_are_listed_with_their_licence():
    section = PAGE.read_text().split("## Files of the dashboard\n")[1].split("\n## ")[0]
    rows = set(re.findall(r"^\| (\S+) \| (\d\S*) \| (\S+) \|$", section, re.MULTILINE))
    files = vendored((ROOT / STATIC / "README.md").read_text())
    assert rows == {(each.package, each.version, each.licence) for each in files}
    assert {each.licence for each in files} <= PERMISSIVE
