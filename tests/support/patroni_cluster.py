"""PostgreSQL under Patroni on three machines, with etcd, and PgBouncer on each machine: the files of deploy/patroni.

A machine is a network namespace, so that it can be cut off. This needs root, and Debian's packages.
"""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.support.postgres_server import _someone
from tests.support.until import until

SAMPLES = Path(__file__).parents[2] / "deploy" / "patroni"
NAMES = ("db1", "db2", "db3")
PASSWORD = "correct-horse"
NEEDED = {
    "patroni": "patroni",
    "etcd": "etcd-server",
    "pgbouncer": "pgbouncer",
    "ip": "iproute2",
    "nft": "nftables",
    "setpriv": "util-linux",
}
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


def binaries():
    """The directory of Debian's newest PostgreSQL, with pg_rewind. None if there is none."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "pg_rewind").exists()]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def require():
    """Skip the test on a machine that cannot run the cluster."""
    missing = [package for program, package in NEEDED.items() if shutil.which(program, path=PATH) is None]
    if binaries() is None:
        missing.append("postgresql")
    if subprocess.run(["/usr/bin/python3", "-c", "import etcd"], capture_output=True, check=False).returncode:
        missing.append("python3-etcd")  # Patroni's
    if missing:
        pytest.skip(f"the cluster needs packages of Debian that are not installed: {' '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("the cluster needs root, for network namespaces")
    made = subprocess.run(["unshare", "-n", "true"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"this machine makes no network namespaces: {made.stderr.strip()}")


class Machine:
    def __init__(self, cluster, number):
        self.name = NAMES[number]
        self.namespace = f"{cluster.name}-{self.name}"
        self.address = f"{cluster.network}.{11 + number}"
        self.home = cluster.home / self.name
        self._cluster = cluster

    def execute(self, *command, **options):
        """Start a program on this machine, as the user of PostgreSQL."""
        who = self._cluster.who
        user = ["--reuid", who["user"], "--regid", who["group"], "--clear-groups"] if who else []
        inside = ["ip", "netns", "exec", self.namespace, "setpriv", *user]
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                list(map(str, [*inside, *command])), stdout=log, stderr=log, cwd=self.home, **options
            )

    def pids(self, program=""):
        """The processes of this machine, or those of one program."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True
        )
        found = []
        for pid in map(int, listed.stdout.split()):
            with suppress(OSError):
                if program in Path(f"/proc/{pid}/comm").read_text():
                    found.append(pid)
        return found

    def signal(self, number, program="postgres"):
        """Send a signal to all processes of a program, several times, so that none that starts meanwhile escapes."""
        for pid in self.pids(program):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """SIGKILL to PostgreSQL."""
        self.signal(signal.SIGSTOP)  # so that the postmaster starts no process meanwhile
        self.signal(signal.SIGKILL)

    def stop(self):
        """SIGSTOP to PostgreSQL."""
        self.signal(signal.SIGSTOP)

    def stop_replication(self):
        """SIGSTOP to the processes that send the write-ahead log to standbys."""
        for pid in self.pids("postgres"):
            with suppress(OSError):
                if b"walsender" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def cut_off(self):
        """Drop all packets from and to other machines."""
        rules = "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; policy drop; {way} lo accept; }}; "
            for hook, way in (("input", "iif"), ("output", "oif"))
        )
        self._nft(f"add table inet cut {{ {rules} }}")

    def reconnect(self):
        self._nft("delete table inet cut")

    def _nft(self, rule):
        subprocess.run(["ip", "netns", "exec", self.namespace, "nft", rule], check=True)

    def accepts_sessions(self):
        """Whether PgBouncer accepts connections."""
        with socket.socket() as probe:
            probe.settimeout(2)
            return probe.connect_ex((self.address, 6432)) == 0

    def is_primary(self):
        """Whether it holds the leader key and accepts writes, as its Patroni reports."""
        return self._status("/primary") == 200

    def is_streaming(self, *, synchronous=False):
        """Whether it is a standby that may be promoted."""
        return self._status("/synchronous" if synchronous else "/replica") == 200

    def _status(self, path):
        with suppress(httpx2.HTTPError):
            return httpx2.get(f"http://{self.address}:8008{path}", timeout=2).status_code
        return None


class PatroniCluster:
    """Started by the constructor. `url` names PgBouncer of all machines."""

    _numbers = itertools.count(os.getpid())

    def __init__(self, *, synchronous=True):
        number = next(self._numbers)
        self.name = f"rs{number}"
        self.network = f"10.231.{number % 250}"
        self.who = _someone()
        self.home = Path(tempfile.mkdtemp(prefix="runstead-patroni-", dir="/tmp"))
        self._processes = []
        self.machines = [Machine(self, each) for each in range(len(NAMES))]
        hosts = ",".join(f"{machine.address}:6432" for machine in self.machines)
        self.url = f"postgresql://runstead:{PASSWORD}@{hosts}/runstead?sslmode=disable"
        try:
            self._connect_machines()
            self._start_etcd()
            for machine in self.machines:
                self._start_patroni(machine, synchronous=synchronous)
                if machine is self.machines[0]:
                    until(machine.is_primary, "a primary", 40)
            self._prepare_database()
            for machine in self.machines:
                self._start_pgbouncer(machine)
            for machine in self.machines:
                until(machine.accepts_sessions, "PgBouncer")
            self.wait_until_complete(synchronous=synchronous)
        except BaseException:
            self.remove()
            raise

    def _connect_machines(self):
        bridge = self.name
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{self.network}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number, machine in enumerate(self.machines):
            cable = f"{bridge}-{number}"
            _ip("netns", "add", machine.namespace)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", machine.namespace)
            _ip("link", "set", cable, "master", bridge, "up")
            _ip("-n", machine.namespace, "address", "add", f"{machine.address}/24", "dev", "eth0")
            _ip("-n", machine.namespace, "link", "set", "eth0", "up")
            _ip("-n", machine.namespace, "link", "set", "lo", "up")

    def _start_etcd(self):
        clients, peers = f"http://{self.network}.1:2379", f"http://{self.network}.1:2380"
        # The tests are not about etcd, so one member is enough, and its disk need not be safe.
        options = ["--data-dir", self.home / "etcd", "--unsafe-no-fsync", "--log-level", "error"]
        options += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
        options += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        options += ["--initial-cluster", f"default={peers}"]
        with (self.home / "etcd.log").open("ab") as log:
            self._processes.append(subprocess.Popen(["etcd", *map(str, options)], stdout=log, stderr=log))

    def _start_patroni(self, machine, *, synchronous):
        machine.home.mkdir()
        text = (SAMPLES / "patroni.yaml").read_text()
        if not synchronous:
            text = text.replace("synchronous_mode: true", "synchronous_mode: false")
        text = text.replace("/var/lib/postgresql/runstead", str(machine.home / "data"))
        text = text.replace("/usr/lib/postgresql/17/bin", str(binaries()))
        text = text.replace("local all all peer", "local all all trust")
        text = text.replace("  pg_hba:", f"  pgpass: {machine.home}/pgpass\n  pg_hba:")
        text = text.replace(
            "  pg_hba:", f"  parameters:\n    unix_socket_directories: {machine.home}\n  pg_hba:"
        )
        (machine.home / "patroni.yaml").write_text(text)
        if self.who:
            os.chown(self.home, self.who["user"], self.who["group"])
            os.chown(machine.home, self.who["user"], self.who["group"])
        settings = {
            "PATRONI_NAME": machine.name,
            "PATRONI_ETCD3_HOSTS": f"{self.network}.1:2379",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{machine.address}:8008",
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{machine.address}:5432",
            "PATRONI_SUPERUSER_PASSWORD": PASSWORD,
            "PATRONI_REPLICATION_PASSWORD": PASSWORD,
        }
        process = machine.execute(
            "patroni", "patroni.yaml", env={"PATH": PATH, "HOME": str(machine.home)} | settings
        )
        self._processes.append(process)

    def _prepare_database(self):
        primary = self.primary()
        for statement in (
            f"CREATE USER runstead PASSWORD '{PASSWORD}'",
            "CREATE DATABASE runstead OWNER runstead",
        ):
            self.sql(primary, statement)

    def sql(self, machine, statement, database="postgres"):
        """Run a statement in PostgreSQL itself, on one machine. Returns its output."""
        done = subprocess.run(
            [
                "psql",
                "-X",
                "-q",
                "-A",
                "-t",
                "-h",
                machine.address,
                "-U",
                "postgres",
                "-c",
                statement,
                database,
            ],
            env={"PATH": PATH, "PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "5"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()

    def _start_pgbouncer(self, machine):
        users = machine.home / "userlist.txt"
        users.write_text(f'"runstead" "{PASSWORD}"\n')
        text = (SAMPLES / "pgbouncer.ini").read_text().replace("/etc/pgbouncer/userlist.txt", str(users))
        (machine.home / "pgbouncer.ini").write_text(text)
        self._processes.append(machine.execute("pgbouncer", "pgbouncer.ini", env={"PATH": PATH}))

    def primary(self, besides=None):
        """The machine that is the primary. None if there is none besides the one that is named."""
        others = [machine for machine in self.machines if machine is not besides]
        return next((machine for machine in others if machine.is_primary()), None)

    def wait_until_complete(self, *, synchronous=True):
        """Wait until there is a primary, and both others follow it, so that the next fault loses nothing."""

        def complete():
            primary = self.primary()
            if primary is None:
                return False
            standbys = [machine for machine in self.machines if machine is not primary]
            return all(map(Machine.is_streaming, standbys)) and (
                not synchronous or any(machine.is_streaming(synchronous=True) for machine in standbys)
            )

        until(complete, "a primary with two standbys", 120)

    def remove(self):
        for machine in self.machines:
            with suppress(subprocess.CalledProcessError):
                machine.signal(signal.SIGKILL, "")
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        deadline = time.monotonic() + 10
        for machine in self.machines:
            with suppress(subprocess.CalledProcessError):
                while machine.pids() and time.monotonic() < deadline:
                    time.sleep(0.05)
                _ip("netns", "delete", machine.namespace)
        with suppress(subprocess.CalledProcessError):
            _ip("link", "delete", self.name)
        shutil.rmtree(self.home, ignore_errors=True)


def _ip(*command):
    subprocess.run(["ip", *command], check=True, env={"PATH": PATH})
