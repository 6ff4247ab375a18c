"""`runstead keys …` and `runstead projects …`, on the store itself and through a server."""

import pytest

from runstead.sdk import Client


def test_a_key_is_shown_once_and_works_until_it_is_revoked(cli, project, server):
    made = cli("keys", "create", "--name", "mine", "--scope", "runs:read", "--expires", "3d", "--json").json
    assert set(made) == {"key", "prefix", "id", "project_id", "scopes", "name", "expires_at"}
    with Client(server.url, made["key"], project=project.slug) as client:
        assert client.runs.list().data == []
    secret = made["key"].rpartition("_")[2]
    for columns in (60, 80, 200, None):
        shown = cli("keys", "list", columns=columns)
        assert made["id"] in shown.out
        assert secret not in shown.out
    (listed,) = [one for one in cli("keys", "list", "--json").json if one["id"] == made["id"]]
    assert "key" not in listed
    assert listed["scopes"] == ["runs:read"]
    revoked = cli("keys", "revoke", made["id"])
    assert (revoked.code, revoked.out) == (0, f"{made['id']}  revoked\n")
    assert "revoked" in cli("keys", "list").out


def test_without_json_only_the_key_is_printed(cli, project):
    done = cli("keys", "create")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("vf_")
    assert len(done.out.split()) == 1


@pytest.fixture
def store(bare):
    """The command line with a store and without a server."""
    bare.env.setenv("RUNSTEAD_DATABASE_URL", f"sqlite:///{bare.home}/alone.db")
    assert bare("projects", "create", "alone", "--name", "Alone").code == 0
    return bare


def test_on_the_store_keys_are_made_listed_and_revoked_without_a_server(store):
    key = store("keys", "create", "--project", "alone", "--expires", "1d", "--json").json
    (listed,) = store("keys", "list", "--project", "alone", "--json").json
    assert listed["id"] == key["id"]
    assert listed["expires_at"] == key["expires_at"]
    assert "hash" not in listed
    assert store("keys", "revoke", key["id"], "--project", "alone").code == 0
    assert "revoked" in store("keys", "list", "--project", "alone").out
    unknown = store("keys", "revoke", "nothing", "--project", "alone")
    assert (unknown.code, unknown.err) == (1, "runstead: Key nothing not found\n")
    assert store("keys", "list").code == 2
    assert "nowhere" in store("keys", "list", "--project", "nowhere").err


def test_an_option_chooses_between_store_and_server(cli, server, project):
    # The environment names a server, later also a store; --url and --database take precedence.
    assert project.slug in cli("projects", "list").out
    cli.env.setenv("RUNSTEAD_DATABASE_URL", f"sqlite:///{cli.home}/alone.db")
    assert cli("projects", "list").err == "no projects\n"
    assert project.slug in cli("projects", "list", "--url", server.url).out
    assert cli("projects", "list", "--database", f"sqlite:///{cli.home}/other.db").err == "no projects\n"
    both = cli("projects", "list", "--database", f"sqlite:///{cli.home}/other.db", "--url", server.url)
    assert both.code == 2


def test_a_default_profile_selects_its_server(bare, server):
    bare.profile(f'default = "here"\n[profiles.here]\nurl = "{server.url}"\nkey = "{server.key}"\n')
    assert "default" in bare("projects", "list").out
    assert list(bare.home.glob("*.db")) == []


def test_a_project_created_through_a_server_has_a_key(cli, server):
    made = cli("projects", "create", "through-http", "--json").json
    with Client(server.url, made["api_key"], project="through-http") as client:
        assert client.projects.get().id == made["id"]
    again = cli("projects", "create", "through-http")
    assert again.code == 1
    assert "PROJECT_SLUG_TAKEN" in again.err


def test_listing_keys_creates_no_database_file(bare):
    done = bare("keys", "list", "--project", "p", "--database", f"sqlite:///{bare.home}/none.db")
    assert done.code == 1
    assert "none.db" in done.err
    assert list(bare.home.iterdir()) == []


def test_a_project_requires_a_proof_of_the_attempt(cli, project):
    for name in ("require_attempt", "search_values"):
        for prefix, value in (("--", True), ("--no-", False)):
            option = f"{prefix}{name.replace('_', '-')}"
            changed = cli("projects", "set", project.slug, option, "--json").json
            settings = {"require_attempt": False, "search_values": False} | {name: value}
            assert changed == {"id": project.id, "slug": project.slug, **settings}
    for columns in (60, 80, 200, None):
        assert project.slug in cli("projects", "set", project.slug, columns=columns).out
