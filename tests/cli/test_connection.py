"""How commands choose their server, and how they report connection errors."""

import socket

import pytest

from runstead.cli import hoisted
from runstead.cli.shared.connection import ServerOptions, describe, resolve, shown_url
from runstead.sdk import RunsteadError
from runstead.sdk.models.response import FieldError

PROFILES = """
default = "local"

[profiles.local]
url = "http://local:1"
key = "vf_local_k"
project = "mine"

[profiles.prod]
url = "https://prod:2"
key = "vf_prod_k"
"""


@pytest.fixture
def place(bare):
    bare.profile(PROFILES)

    def find(environment=None, **options):
        found = resolve(ServerOptions(**options), {"HOME": str(bare.home), **(environment or {})})
        return found.url.value, found.key.value, found.project.value

    return find


def test_an_option_comes_before_a_variable_and_a_variable_before_the_profile(place):
    environment = {"RUNSTEAD_URL": "http://variable:3"}
    assert place() == ("http://local:1", "vf_local_k", "mine")
    assert place(environment) == ("http://variable:3", "vf_local_k", "mine")
    assert place(environment, url="http://option:4", project="p") == ("http://option:4", "vf_local_k", "p")


def test_a_profile_named_by_an_option_comes_before_variables(place):
    environment = {"RUNSTEAD_URL": "http://variable:3", "RUNSTEAD_PROJECT": "v"}
    assert place(environment, profile="prod") == ("https://prod:2", "vf_prod_k", "v")
    assert place({"RUNSTEAD_PROFILE": "prod"}) == ("https://prod:2", "vf_prod_k", None)
    assert place({**environment, "RUNSTEAD_PROFILE": "prod"})[0] == "http://variable:3"


def test_the_default_server_is_on_this_machine(bare):
    found = resolve(ServerOptions(), {"HOME": str(bare.home)})
    assert (found.url, found.key.value) == (("http://127.0.0.1:8720", "default"), None)


def test_the_config_file_is_in_the_xdg_directory(bare, tmp_path):
    bare.env.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert bare("config", "path").out == f"{tmp_path}/xdg/runstead/config.toml\n"
    bare.env.setenv("XDG_CONFIG_HOME", "relative")
    assert bare("config", "path", "--json").json == {
        "path": f"{bare.home}/.config/runstead/config.toml",
        "exists": False,
    }


def test_the_effective_connection_is_shown_without_a_key(bare):
    bare.profile(PROFILES)
    shown = bare("config", "show")
    assert "http://local:1 (profile local)" in shown.out
    assert "set (profile local)" in shown.out
    printed = bare("--profile", "prod", "config", "show", "--json").json
    assert printed["key"] == {"set": True, "source": "profile prod"}
    assert printed["profile"] == {"value": "prod", "source": "--profile"}
    bare.env.setenv("RUNSTEAD_KEY", "vf_env_secretsecret")
    bare.env.setenv("RUNSTEAD_URL", "http://me:hunter2@host/x")
    everything = [
        bare("config", "show"),
        bare("config", "show", "--json"),
        bare("config", "show", columns=60),
    ]
    for done in everything:
        assert "http://host/x" in done.out
        assert not any(secret in done.out + done.err for secret in ("vf_", "hunter2"))


def test_a_readable_config_file_with_a_key_causes_a_warning(bare):
    path = bare.profile(PROFILES, mode=0o644)
    warned = bare("config", "show")
    assert warned.code == 0
    assert warned.err == f"runstead: warning: {path} holds a key and others can read it: chmod 600 {path}\n"
    path.chmod(0o600)
    assert bare("config", "show").err == ""


def test_a_command_that_resolves_twice_warns_once(cli, server):
    cli.env.delenv("RUNSTEAD_KEY")
    cli.profile(f'default = "a"\n[profiles.a]\nkey = "{server.key}"\nproject = "default"\n', mode=0o644)
    assert cli("keys", "list").err.count("warning") == 1


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("url = [", "TOML"),
        ("[profiles.a]\nurll = 'x'", "urll"),
        ("[profiles.a]\nurl = 5", "url"),
        ("default = 'nobody'", "nobody"),
        ("[profiles.a]\nkey = ['vf_x_secret']", "key"),
    ],
)
def test_an_invalid_config_file_is_reported_in_one_sentence(bare, text, word):
    bare.profile(text)
    done = bare("runs", "list")
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert word in done.err
    assert "secret" not in done.err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--profile", "p", "runs", "list"], ["runs", "list", "--profile", "p"]),
        (["--url=u", "runs", "get", "x"], ["runs", "get", "--url=u", "x"]),
        (["--project", "p", "doctor", "--json"], ["doctor", "--project", "p", "--json"]),
        (["runs", "list", "--profile", "p"], ["runs", "list", "--profile", "p"]),
        (["--profile"], ["--profile"]),
        (["--profile", "p", "--help"], ["--profile", "p", "--help"]),
        (["--profile", "p", "nothing"], ["--profile", "p", "nothing"]),
    ],
)
def test_connection_options_may_precede_the_command(given, meant):
    assert hoisted(given) == meant


def test_an_unreachable_server_is_named_with_advice(bare):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = bare("runs", "get", "r", "--url", url, "--key", "vf_secret_k")
    assert (done.code, done.out) == (3, "")
    assert len(done.err.splitlines()) == 1
    assert url in done.err
    assert "runstead serve" in done.err
    assert "vf_secret" not in done.err


def test_a_refusal_is_one_sentence_with_its_code(cli):
    done = cli("runs", "get", "nowhere")
    assert (done.code, done.out) == (1, "")
    assert done.err == "runstead: Run not found (NOT_FOUND, HTTP 404)\n"


def test_rejected_values_are_named(cli):
    done = cli("runs", "create", "task:" + "x" * 500)
    assert done.code == 1
    assert "request.target" in done.err


def test_a_missing_key_is_reported_with_where_to_set_it(cli):
    cli.env.delenv("RUNSTEAD_KEY")
    done = cli("runs", "get", "r")
    assert done.code == 1
    assert "RUNSTEAD_KEY" in done.err
    cli.env.setenv("RUNSTEAD_KEY", "vf_wrongkey_wrong")
    done = cli("runs", "get", "r")
    assert done.code == 1
    assert "is the key right" in done.err
    assert "vf_wrong" not in done.err


def test_the_only_project_of_a_key_is_the_default(cli, project):
    assert cli("runs", "list").err == "no runs\n"
    assert cli("runs", "list", "--json").json == []


def test_an_invalid_url_is_reported_in_one_sentence(bare):
    for url in ("nonsense", "ftp://x", "http://", "http://[::1", "http://x:port"):
        done = bare("runs", "get", "r", "--url", url)
        assert done.code in {1, 3}, url
        assert len(done.err.splitlines()) == 1, done.err


def test_a_password_in_a_url_is_not_shown():
    assert shown_url("http://a:b@host:1/p") == "http://host:1/p"
    assert shown_url("http://host:1") == "http://host:1"


def test_a_refused_value_is_explained_once():
    sentence = "'Mars' is not an IANA time zone: use a name such as Europe/Berlin or UTC"
    error = RunsteadError(sentence, 400, "INVALID_REQUEST", [FieldError(path="$.timezone", message=sentence)])
    assert describe(error).count("Mars") == 1
    other = RunsteadError("Two values are refused", 400, None, [FieldError(path="$.a", message="too large")])
    assert "$.a: too large" in describe(other)
