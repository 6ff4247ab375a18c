"""The Compose files of deploy/compose. `make lint` compares them with the schema of the specification."""

import ipaddress
import re

import pytest
import yaml

from runstead.core import limits
from runstead.security.stored_secrets import read_keys
from runstead.server.settings import Settings, load
from tests.support.server import runstead

from .proxies import DEPLOY

FILES = {
    name: yaml.safe_load((DEPLOY / f"compose/{name}.yaml").read_text()) for name in ("compose", "postgres")
}
SERVERS = [
    pytest.param(service, id=f"{file}-{name}")
    for file, content in FILES.items()
    for name, service in content["services"].items()
    if name.startswith("server")
]


@pytest.mark.parametrize("service", SERVERS)
def test_a_server_has_time_to_end_and_writes_nothing_but_its_data(service):
    assert int(service["stop_grace_period"].removesuffix("s")) > limits.shutdown_s
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["data:/data"]


@pytest.mark.parametrize("service", SERVERS)
def test_the_settings_of_a_server_exist(service):
    names = {
        name.removeprefix("RUNSTEAD_").lower() for name in service["environment"] if name != "PGPASSWORD"
    }
    assert names <= set(Settings.__struct_fields__)


def test_the_example_of_env_has_every_variable_that_the_files_need():
    needed = {
        name
        for file in ("compose.yaml", "postgres.yaml", "Caddyfile")
        for name in re.findall(r"\$\{(\w+)(?!\w|:-)|\{\$(\w+)\}", (DEPLOY / "compose" / file).read_text())
        for name in name
        if name
    }
    example = (DEPLOY / "compose/.env.example").read_text()
    assert needed == set(re.findall(r"^(\w+)=", example, re.MULTILINE))


def test_the_commands_in_the_example_of_env_print_values_that_the_server_takes(tmp_path):
    example = (DEPLOY / "compose/.env.example").read_text()
    values = {}
    for command, name in re.findall(r"runstead (keys .+)\n(\w+)=", example):
        code, out, err = runstead(*command.split(), cwd=tmp_path)
        assert code == 0, err
        values[name] = out.strip()
    settings = load(values)
    assert (settings.bootstrap_key, settings.encryption_key) == tuple(values.values())
    read_keys(settings.encryption_key)


def test_the_servers_trust_the_network_of_caddy_alone():
    content = FILES["postgres"]
    (config,) = content["networks"]["outside"]["ipam"]["config"]
    for name in ("server-1", "server-2"):
        trusted = content["services"][name]["environment"]["RUNSTEAD_TRUSTED_PROXIES"]
        assert ipaddress.ip_network(trusted) == ipaddress.ip_network(config["subnet"])
    assert content["networks"]["inside"] == {"internal": True}
    assert content["services"]["postgres"]["networks"] == ["inside"], (
        "no service outside reaches the database"
    )
    assert "ports" not in content["services"]["postgres"]
