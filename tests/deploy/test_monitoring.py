"""The shipped alert rules and the shipped dashboard use metrics, labels and values that a server has."""

import json
import re
import urllib.request

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from runstead import Client
from runstead.core import limits
from tests.docs.conftest import started
from tests.docs.pages import table, text
from tests.support.until import until

from .proxies import DEPLOY

RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((DEPLOY / "grafana/runstead.json").read_text())
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
#: Labels that Prometheus adds, and that of the buckets of a histogram.
ADDED = {"instance", "job", "le"}
#: Labels whose values depend on the traffic.
OPEN = {"status", "route", "method"}


@pytest.fixture(scope="module")
def samples():
    """Name of a sample → label → its values, of a server with a run in its queue."""
    patch = pytest.MonkeyPatch()
    patch.setattr(limits, "measurement_tick_s", 0.05)
    with started({}) as server:
        patch.undo()
        with Client(server.url, server.key, project="default") as client:
            client.start("task:greet")
        found = {}

        def measured():
            found.clear()
            key = {"Authorization": f"Bearer {server.key}"}
            with urllib.request.urlopen(
                urllib.request.Request(f"{server.url}/metrics", headers=key)
            ) as answer:
                for family in text_string_to_metric_families(answer.read().decode()):
                    for sample in family.samples:
                        labels = found.setdefault(sample.name, {})
                        for label, value in sample.labels.items():
                            labels.setdefault(label, set()).add(value)
            return "task:greet" in found.get("runstead_oldest_pending_seconds", {}).get("target", ())

        until(measured, "the run in the measured queue")
        return found


def used(expression):
    """(metric, {label: matched values}, grouping labels) of every metric in an expression."""
    groups = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", expression))))
    for metric, matchers in re.findall(r"\b(runstead_\w+|up\b)(?:\{((?:[^}\"]|\"[^\"]*\")*)\})?", expression):
        pairs = re.findall(r"(\w+)=~?\"([^\"]*)\"", matchers)
        yield metric, dict(pairs), groups


@pytest.mark.parametrize(
    "expression",
    [pytest.param(rule["expr"], id=rule["alert"]) for rule in RULES]
    + [pytest.param(target["expr"], id=f"panel {place}") for place, target in enumerate(TARGETS)],
)
def test_every_metric_label_and_value_of_the_shipped_files_exists(samples, expression):
    found = list(used(expression))
    assert found, expression
    known = set()
    for metric, matched, _ in found:
        if metric == "up":
            continue
        assert metric in samples
        labels = samples[metric]
        known |= labels.keys()
        for label, value in matched.items():
            assert label in labels, (metric, label)
            if label not in OPEN:
                assert set(value.split("|")) <= labels[label], (metric, label, value)
    for _, _, groups in found:
        assert groups <= known | ADDED


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_what_a_person_needs_at_night(rule, samples):
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"]
    page, anchor = re.fullmatch(r"/docs/([\w-]+)/(?:#([\w-]+))?", rule["annotations"]["runbook"]).groups()
    headings = re.findall(r"^#+ (.+)$", text(f"docs/{page}.md"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert anchor is None or anchor in anchors
    if "for" not in rule:  # a single count is enough
        assert re.search(r"\b(increase|changes)\(", rule["expr"])
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    labels = {label for metric, _, _ in used(rule["expr"]) for label in samples.get(metric, ())}
    assert shown <= labels | ADDED


def test_the_page_describes_every_shipped_alert():
    assert [row[0].strip("`") for row in table("docs/monitoring.md", "alert")] == [
        rule["alert"] for rule in RULES
    ]


def test_the_panels_of_the_dashboard_do_not_overlap():
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) >= 12
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
    for target in TARGETS:
        assert target["datasource"]["uid"] == "${datasource}"
