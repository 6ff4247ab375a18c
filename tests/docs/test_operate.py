"""The pages for operators: metrics and loops are those of the program, and a backup can be restored."""

import re
import shlex
import shutil
import subprocess
import urllib.request
from types import SimpleNamespace

import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from runstead import Client
from runstead.ports import metrics
from runstead.server.main import _loops
from runstead.server.settings import load

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
    named = {word for word in words if re.match(r"runstead_(http|store|loop|leader|deadlines|streams)", word)}
    assert named - answered(server).keys() == set()


def test_the_page_lists_every_loop_with_its_interval():
    app = SimpleNamespace(
        **{
            each: SimpleNamespace(**dict.fromkeys(("refresh", "flush", "next_due")))
            for each in ("store", "quotas", "worker_activity", "session_activity")
        }
    )
    app.store.runs = SimpleNamespace(next_due=None)
    loops = {each.name: each for each in _loops(app, SimpleNamespace(), load({}, retention_days=1))}
    rows = {row[0]: row for row in table("docs/background-loops.md", "loop")}
    assert rows.keys() == loops.keys() | {"leader", "dispatcher", "deliverer"}
    for word, each in loops.items():
        assert rows[word][1] == f"{each.seconds:g} s", word
        assert rows[word][2] == ("leader" if each.led else "every replica"), word


def test_a_backup_that_is_made_as_its_page_describes_can_be_restored(tmp_path):
    if shutil.which("sqlite3") is None:
        pytest.skip("the commands of the page need sqlite3, which this machine does not have")
    shells = [block.text for block in blocks("console") if name(block.page) == "docs/backup.md"]
    (commands,) = [shell.replace("$ ", "") for shell in shells if "sqlite3 " in shell]
    with started({}) as server:
        with Client(server.url, server.key, project="default") as client:
            run_id = client.start("task:greet").id
        subprocess.run(["sh", "-ec", commands], cwd=server.folder, check=True)
        for copy in ("backup.db", "compact.db"):
            shutil.copy(server.folder / copy, tmp_path)
    for copy in ("backup.db", "compact.db"):
        with started({"RUNSTEAD_BOOTSTRAP_KEY": server.key}, folder=tmp_path, file=copy) as restored:
            with Client(restored.url, server.key, project="default") as client:
                assert client.runs.get(run_id).target == "task:greet"
        check = ["runstead", "db", "check", "--database", f"sqlite:///{tmp_path}/{copy}"]
        assert f"`{shlex.join(check[:3])}`" in text("docs/backup.md")
