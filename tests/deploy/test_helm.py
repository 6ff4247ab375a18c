"""The chart in deploy/helm, linted and rendered by Helm, and compared with the schemas of Kubernetes."""

import subprocess

import pytest
import yaml

from runstead.core import limits
from tests.docs.pages import table, ticked

from .conftest import lacking
from .proxies import DEPLOY

CHART = str(DEPLOY / "helm/runstead")
SECRET = ("--set", "existingSecret=runstead")
EVERYTHING = (
    *SECRET,
    *(
        "--set",
        "ingress.enabled=true,ingress.className=nginx,ingress.tlsSecret=tls,serviceMonitor.enabled=true",
    ),
    *("--set", "serviceMonitor.labels.release=prometheus,nodeSelector.disk=ssd,podAnnotations.team=a"),
    *("--set", "image.pullSecrets[0].name=registry,service.annotations.a=b,ingress.annotations.a=b"),
    *("--set", "tolerations[0].operator=Exists,settings.RUNSTEAD_RETENTION_DAYS=30"),
    *("--set-json", 'affinity={"nodeAffinity": {}}'),
)
#: Of the Prometheus operator, whose schema Kubernetes does not have.
FOREIGN = {"ServiceMonitor"}


def ran(helm, *arguments):
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def rendered(helm):
    """rendered(*values): the objects of the chart by their kind."""

    def render(*values):
        done = ran(helm, "template", "runstead", CHART, *values)
        assert done.returncode == 0, done.stderr
        return {each["kind"]: each for each in yaml.safe_load_all(done.stdout) if each}

    return render


def test_helm_finds_no_mistake_in_the_chart(helm):
    done = ran(helm, "lint", "--strict", CHART, *EVERYTHING)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((), "existingSecret"),
        ((*SECRET, "--set", "replicaCount=3"), "replicaCount"),
        ((*SECRET, "--set", "image.name=x"), "name"),
    ],
    ids=["no Secret", "a value that does not exist", "a member that does not exist"],
)
def test_values_that_cannot_work_are_refused(helm, values, reason):
    done = ran(helm, "template", "runstead", CHART, *values)
    assert done.returncode != 0
    assert reason in done.stderr


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_every_object_matches_the_schema_of_kubernetes(rendered, version):
    try:
        import kubernetes_validate
    except ModuleNotFoundError:
        lacking("kubernetes-validate")
    objects = rendered(*EVERYTHING)
    assert objects.keys() == {"Deployment", "Service", "Ingress", "PodDisruptionBudget", "ServiceMonitor"}
    for kind in objects.keys() - FOREIGN:
        kubernetes_validate.validate(objects[kind], version, strict=True)


def test_a_replica_has_time_to_end_and_is_asked_where_the_server_answers(rendered):
    pod = rendered(*SECRET)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    drain = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= drain + limits.shutdown_s + 5
    routes = {each for row in table("docs/api-projects.md", "route") for each in ticked(row[0])}
    probes = {
        name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert {probe["path"] for probe in probes.values()} == {"/healthz", "/readyz"}
    assert {f"GET {probe['path']}" for probe in probes.values()} <= routes
    assert probes["livenessProbe"]["path"] == "/healthz", "a restart does not mend a database"
    assert container["ports"][0]["name"] == probes["readinessProbe"]["port"]


def test_an_update_and_a_drain_leave_a_replica_in_service(rendered):
    objects = rendered(*SECRET)
    update = objects["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert update == {"maxSurge": 1, "maxUnavailable": 0}
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
    ):
        assert selector.items() <= labels.items()
    # One replica: a budget would block every drain of its node.
    assert "PodDisruptionBudget" not in rendered(*SECRET, "--set", "replicas=1")


def test_the_pod_fits_the_restricted_security_standard(rendered):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    pod = rendered(*SECRET)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["automountServiceAccountToken"]
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    assert f"USER {pod['securityContext']['runAsUser']}:" in (DEPLOY / "Dockerfile").read_text()


def test_the_environment_has_the_secret_and_no_variable_of_a_service(rendered):
    pod = rendered(*EVERYTHING)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["enableServiceLinks"] is False, "RUNSTEAD_PORT would be tcp://…, of the Service"
    secret = {each["name"] for each in container["env"] if "valueFrom" in each}
    assert secret == {"RUNSTEAD_DATABASE_URL", "RUNSTEAD_BOOTSTRAP_KEY", "RUNSTEAD_ENCRYPTION_KEY"}
    plain = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    assert plain == {"RUNSTEAD_RETENTION_DAYS": "30"}
