import pytest

from runstead.core.errors import Error
from runstead.core.identity.principal import (
    ALL_SCOPES,
    DEFAULT_SCOPES,
    ROLE_SCOPES,
    Principal,
    Scope,
    can,
    expand,
    projects_with,
    require,
)


def caller(**grants):
    return Principal(
        "api_key", "k", {project: expand(frozenset(scopes)) for project, scopes in grants.items()}
    )


def test_writing_runs_includes_reading_them():
    assert can(caller(p=[Scope.RUNS_WRITE]), Scope.RUNS_READ, "p")


def test_reading_runs_includes_nothing_else():
    assert expand(frozenset({Scope.RUNS_READ})) == {Scope.RUNS_READ}


def test_the_scope_workers_includes_nothing_else():
    assert expand(frozenset({Scope.WORKERS})) == {Scope.WORKERS}


def test_the_scope_admin_includes_all_others_of_a_project():
    assert expand(frozenset({Scope.ADMIN})) == ALL_SCOPES == set(Scope) - {Scope.SYSTEM}


def test_no_role_and_no_other_scope_includes_the_scope_system():
    assert all(Scope.SYSTEM not in scopes for scopes in ROLE_SCOPES.values())
    assert all(Scope.SYSTEM not in expand(frozenset({scope})) for scope in ALL_SCOPES)
    assert expand(frozenset({Scope.SYSTEM})) == {Scope.SYSTEM}


def test_no_scopes_allow_nothing():
    assert expand(frozenset()) == frozenset()


def test_a_new_key_does_not_have_the_scope_admin():
    assert Scope.ADMIN not in expand(DEFAULT_SCOPES)


def test_a_viewer_only_reads():
    assert ROLE_SCOPES["viewer"] == {Scope.RUNS_READ}
    assert Scope.ADMIN not in expand(ROLE_SCOPES["member"])


def test_another_project_is_not_found_and_not_forbidden():
    with pytest.raises(Error) as refused:
        require(caller(p=[Scope.ADMIN]), Scope.RUNS_READ, "q", "Run")
    assert (refused.value.code, refused.value.message) == ("NOT_FOUND", "Run not found")


def test_a_missing_scope_in_the_caller_s_project_is_forbidden():
    with pytest.raises(Error) as refused:
        require(caller(p=[Scope.RUNS_READ]), Scope.RUNS_WRITE, "p", "Run")
    assert refused.value.code == "FORBIDDEN"
    assert "runs:write" in refused.value.message


def test_a_scope_in_one_project_does_not_apply_to_another():
    both = caller(p=[Scope.ADMIN], q=[Scope.RUNS_READ])
    assert not can(both, Scope.RUNS_WRITE, "q")
    assert projects_with(both, Scope.RUNS_WRITE) == ("p",)
    assert projects_with(both, Scope.RUNS_READ) == ("p", "q")


def test_a_scope_in_no_project_is_forbidden():
    with pytest.raises(Error) as refused:
        projects_with(caller(p=[Scope.RUNS_READ]), Scope.WORKERS)
    assert refused.value.code == "FORBIDDEN"


def test_callers_of_different_kinds_have_different_identities():
    assert Principal("user", "7", {}).identity != Principal("worker", "7", {}).identity
