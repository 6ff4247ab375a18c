"""The pages for operators: metrics and loops are those of the program, and a backup can be restored."""

import re
import subprocess
import sys
import urllib.request

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from runstead import Client
from runstead.ports import metrics
from runstead.ports.store_metrics import StoreMetrics

from .conftest import started
from .pages import PAGES, blocks, name, table, text, ticked

METRICS = "docs/metrics.md"


def answered(server):
    """The families of `/metrics`, by the name that a query uses, without the times of creation."""
    with Client(server.url, server.key, project="default") as client:
        client.runs.list()
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    found = {f"{each.name}_total" if each.type == "counter" else each.name: each for each in families}
    return {word: each for word, each in found.items() if not word.endswith("_created")}


def labels(family):
    wrappers = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    names = {one.describe()[0].name: one._labelnames for one in wrappers}
    collected = (*metrics.registry.collect(), *StoreMetrics().collect())
    names |= {one.name: one._labelnames for one in collected if hasattr(one, "_labelnames")}
    sampled = (label for sample in family.samples for label in sample.labels)
    return names[family.name] if family.name in names else tuple(dict.fromkeys(sampled))


def test_the_page_lists_every_metric_that_the_server_answers_with_its_type_and_labels(server):
    documented = {
        ticked(row[0])[0]: (row[1], sorted(ticked(row[2])), bool(row[3])) for row in table(METRICS, "metric")
    }
    assert documented == {
        word: (family.type, sorted(set(labels(family)) - {"le"}), True)
        for word, family in answered(server).items()
    }


def test_every_metric_that_a_page_names_exists(server):
    words = {word for page in PAGES for word in re.findall(r"\brunstead_(?:\w+)", text(page))}
    named = {
        word
        for word in words
        if re.match(
            r"runstead_(http|store|loop|leader|deadlines|streams|runs|attempts|oldest|queue|event)", word
        )
    }
    assert named - answered(server).keys() == set()


def test_the_page_lists_every_loop(server):
    served = {sample.labels["loop"] for sample in answered(server)["runstead_loop_ticks_total"].samples}
    documented = {row[0] for row in table("docs/background-loops.md", "loop")}
    assert documented == served | {"retention"}  # which runs only with its setting


def test_a_backup_that_is_made_as_its_page_describes_can_be_restored(environment, tmp_path):
    shells = [block.text for block in blocks("console") if name(block.page) == "docs/backup.md"]
    save, restore = [
        shell.replace("$ runstead", f"{sys.executable} -P -m runstead.cli")
        .replace("/var/backups", str(tmp_path))
        .replace("/var/lib/runstead", str(tmp_path))
        for shell in shells
        if "$ runstead " in shell
    ]
    restored = f"sqlite:///{tmp_path}/restored.db"
    with started({}, f"sqlite:///{tmp_path}/runstead.db") as server:
        with Client(server.url, server.key, project="default") as client:
            run_id = client.start("task:greet").id
        settings = environment | {"RUNSTEAD_DATABASE_URL": f"sqlite:///{tmp_path}/runstead.db"}
        subprocess.run(["sh", "-ec", save], env=settings, check=True)
    subprocess.run(["sh", "-ec", restore], env=environment, check=True)
    with (
        started({"RUNSTEAD_BOOTSTRAP_KEY": server.key}, restored) as other,
        Client(other.url, server.key, project="default") as client,
    ):
        assert client.runs.get(run_id).target == "task:greet"
