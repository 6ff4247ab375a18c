"""PostgreSQL under Patroni fails over under load: the primary of three is killed, stopped and cut off, again and again.

With synchronous replication the history of every run can be explained, so no acknowledged write is lost and no run is
completed twice. With asynchronous replication, the last writes are lost, and are counted.
"""

import os
import threading
import time
from contextlib import suppress

import httpx2
import pytest

from tests.support.patroni_cluster import Machine, PatroniCluster, require
from tests.support.server import Server
from tests.support.until import until

from . import faults
from .deployment import Deployment
from .load import Load
from .verdict import judge

pytestmark = pytest.mark.long

ROUNDS = int(os.environ.get("RUNSTEAD_FAILOVER_ROUNDS", "2"))
SERVED_S = 15
EXPIRY_S = 30
"""Within this time the key of a primary that is stopped or cut off expires, and another one is promoted: Patroni's
shortest ttl is 20 s.
"""
FAULTS = {
    "killed": (Machine.kill, None),
    "stopped": (Machine.stop, Machine.resume),
    "cut off": (Machine.cut_off, Machine.reconnect),
}


class PatroniDeployment(Deployment):
    """Three replicas on a cluster."""

    def __init__(self, directory, *, synchronous=True):
        self.directory, self.replicas, self.proxy = directory, [], None
        self.postgres = self.cluster = PatroniCluster(synchronous=synchronous)
        self.url = self.cluster.url
        try:
            for number in range(3):
                folder = directory / f"replica-{number}"
                folder.mkdir()
                self.replicas.append(Server(folder, self.url).start())
            with self.replicas[0].api() as api:
                self.project_id = api.project_id()
        except BaseException:
            self.close()
            raise

    def wait_until_served(self):
        """Wait until every replica has stored a run."""
        for replica in self.replicas:
            with replica.api(timeout_s=2) as api:
                until(lambda api=api: self._create(api), f"{replica.directory.name} to store a run", 90)

    def _create(self, api):
        with suppress(httpx2.HTTPError):
            return api.create(self.project_id, "task:probe")
        return None

    def fail_over(self, primary, fault):
        """Inject a fault. Returns the seconds until another primary was promoted, and until replicas served again."""
        began = time.monotonic()
        fault(primary)
        until(lambda: self.cluster.primary(besides=primary), "another primary", 60)
        promoted_s = time.monotonic() - began
        self.wait_until_served()
        return promoted_s, time.monotonic() - began


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    require()
    made = PatroniDeployment(tmp_path_factory.mktemp("patroni"))
    yield made
    made.close()


@pytest.mark.timeout(120 + 120 * ROUNDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_primary_that_fails_under_load_loses_nothing(deployment, fault):
    inject, heal = FAULTS[fault]
    for number in range(ROUNDS):
        deployment.cluster.wait_until_complete()
        deployment.ready()
        load = Load(deployment.replicas, f"{fault.replace(' ', '-')}-{number}")
        load.pass_by(faults.SPELL)
        primary = deployment.cluster.primary()
        promoted_s, served_s = deployment.fail_over(primary, inject)
        load.pass_by(faults.SPELL)
        if heal is not None:
            heal(primary)  # it believes to be the primary, until its Patroni stops it
        deployment.cluster.wait_until_complete()
        load.pass_by(faults.SPELL)
        deployment.ready()
        load.finish()
        verdict = judge(load)
        print(  # noqa: T201
            f"{fault}: another primary after {promoted_s:.1f} s, served after {served_s:.1f} s;"
            f" {verdict.operations:,} operations of {verdict.runs} runs, {verdict.unknown:,} unknown"
        )
        assert verdict.clean, verdict
        assert deployment.violations() == ""
        assert served_s - promoted_s < SERVED_S
        assert served_s < SERVED_S if heal is None else promoted_s < EXPIRY_S


def test_with_asynchronous_replication_the_writes_since_the_last_that_was_replicated_are_lost(tmp_path):
    require()
    deployment = PatroniDeployment(tmp_path, synchronous=False)
    try:
        acknowledged, stop = {}, threading.Event()

        def create(replica):
            with replica.api(timeout_s=2) as api:
                while not stop.is_set():
                    with suppress(httpx2.HTTPError):
                        run_id = api.create(deployment.project_id)["run_id"]
                        acknowledged[run_id] = time.monotonic()

        clients = [threading.Thread(target=create, args=(replica,)) for replica in deployment.replicas]
        for client in clients:
            client.start()

        def wait_for_more(count):
            wanted = len(acknowledged) + count
            until(lambda: len(acknowledged) >= wanted, f"{count} more runs")

        wait_for_more(100)
        primary = deployment.cluster.primary()
        stopped_at = time.monotonic()
        primary.stop_replication()
        wait_for_more(100)
        deployment.fail_over(primary, Machine.kill)
        wait_for_more(100)
        stop.set()
        for client in clients:
            client.join()
        primary = deployment.cluster.primary()
        stored = set(deployment.cluster.sql(primary, "SELECT run_id FROM runs", "runstead").split())
        lost = acknowledged.keys() - stored
        print(f"asynchronous: {len(acknowledged)} runs acknowledged, {len(lost)} lost")  # noqa: T201
        assert len(lost) >= 50
        assert min(acknowledged[run_id] for run_id in lost) > stopped_at - 1
        assert deployment.violations() == ""
    finally:
        deployment.close()
