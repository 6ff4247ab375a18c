"""The pages of docs/deployment show the shipped files, and their commands fit them."""

import re
import subprocess

import pytest
import yaml

from tests.docs.pages import ROOT, blocks, name, table, text, ticked

from .proxies import DEPLOY

PAGES = sorted((ROOT / "docs/deployment").glob("*.md"))
SHOWN = [
    pytest.param(path, shown, id=path)
    for page in PAGES
    for path, shown in re.findall(
        r"^`(deploy/\S+)`:\n\n```\w+\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    )
]


def of(page, language):
    return [block.text for block in blocks(language) if name(block.page) == f"docs/deployment/{page}.md"]


@pytest.mark.parametrize(("path", "shown"), SHOWN)
def test_a_page_shows_the_file_that_is_shipped(path, shown):
    assert shown == (ROOT / path).read_text()


def test_a_page_names_no_file_that_is_not_shipped():
    for page in PAGES:
        for path in re.findall(r"(?<![\w/])deploy/[\w./-]*[\w-]", page.read_text()):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_steps_of_systemd_make_what_the_unit_uses():
    unit = dict(re.findall(r"^(\w+)=(.+)$", (DEPLOY / "systemd/runstead.service").read_text(), re.MULTILINE))
    steps = "".join(of("systemd", "console"))
    program, _ = unit["ExecStart"].split(" ", 1)
    folder = program.removesuffix("/bin/runstead")
    assert f"-m venv {folder}\n" in steps
    assert f"{folder}/bin/pip install runstead\n" in steps
    assert re.search(rf"useradd .*--home-dir {unit['WorkingDirectory']} .* {unit['User']}\n", steps)
    assert f"/dev/stdin {unit['EnvironmentFile']}\n" in steps
    assert unit["WorkingDirectory"] == f"/var/lib/{unit['StateDirectory']}"
    stores = set(re.findall(r"sqlite:///(\S+)", steps))
    assert stores == {f"{unit['WorkingDirectory']}/runstead.db"}, "the server's own, by its working directory"


def test_the_services_in_the_commands_of_compose_are_those_of_the_files():
    commands = [
        line.removeprefix("$ docker compose ")
        for line in "".join(of("compose", "console")).splitlines()
        if line.startswith("$ docker compose ")
    ]
    assert len(commands) >= 7
    for command in commands:
        file = "postgres" if command.startswith("--file postgres.yaml ") else "compose"
        services = yaml.safe_load((DEPLOY / f"compose/{file}.yaml").read_text())["services"]
        named = re.search(r"(?:exec(?: -T)?|--no-deps) (\S+)", command)
        assert named is None or named[1] in services, command


def test_the_values_of_the_kubernetes_page_are_ones_that_the_chart_takes(helm, tmp_path):
    (values,) = of("kubernetes", "yaml")
    (tmp_path / "values.yaml").write_text(values)
    (install,) = re.findall(r"helm .*--install --wait (\S+) (\S+) ", text("docs/deployment/kubernetes.md"))
    release, chart = install
    command = [helm, "template", release, str(ROOT / chart), "--values", str(tmp_path / "values.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    objects = {each["kind"]: each for each in yaml.safe_load_all(done.stdout)}
    assert objects.keys() >= {"Deployment", "Ingress", "ServiceMonitor"}
    assert f"exec deployment/{objects['Deployment']['metadata']['name']} " in text(
        "docs/deployment/kubernetes.md"
    )
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    needed = {each["name"] for each in container["env"] if "valueFrom" in each}
    (secrets,) = of("kubernetes", "ini")
    assert needed == set(re.findall(r"^(\w+)=", secrets, re.MULTILINE))


@pytest.mark.parametrize(
    ("column", "files"),
    [
        (1, ["nginx/runstead.conf"]),
        (2, ["caddy/Caddyfile"]),
        (2, ["compose/Caddyfile"]),
        (3, ["traefik/traefik.yaml", "traefik/runstead.yaml"]),
    ],
    ids=["nginx", "caddy", "compose", "traefik"],
)
def test_a_proxys_file_has_what_the_table_says(column, files):
    content = "".join((DEPLOY / file).read_text() for file in files)
    rows = table("docs/deployment/reverse-proxy.md", "for")
    assert len(rows) >= 8
    assert [said for row in rows for said in ticked(row[column]) if said not in content] == []
