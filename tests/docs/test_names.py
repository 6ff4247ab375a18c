"""What the program has is in the docs, and what the docs name is in the program."""

import re
import shlex
from functools import cache
from itertools import groupby

import pytest

from runstead.cli.app import app as cli
from runstead.cli.shared.connection import ENVIRONMENT
from runstead.core.errors import CODES, RUN_CODES
from runstead.core.identity.principal import ROLE_SCOPES, Scope
from runstead.core.runs import event
from runstead.core.runs.transitions import RESUMES
from runstead.http.framework.app import operations
from runstead.http.framework.problems import STATUS
from runstead.sdk import BlockingRunHandle, Client, RunHandle, __all__ as sdk_names
from runstead.sdk.isolation.failure import CODES as PROCESS_CODES
from runstead.sdk.resources import Resources
from runstead.sdk.worker.codes import CODES as SDK_CODES
from runstead.sdk.worker.command import ENVIRONMENT as OF_PROGRAMS
from runstead.server import settings

from .pages import ROOT, blocks, each_page, prose, table, text, ticked

#: Variables that HTTP clients anywhere read.
OF_HTTP_CLIENTS = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
CONFIGURATION, ERRORS = "docs/configuration.md", "docs/errors.md"
API = ("docs/api.md", "docs/api-projects.md")
CLI = "docs/cli.md"
OTHERS = (
    "docs/cli-steering.md",
    "docs/cli-usage.md",
    "docs/cli-starting.md",
    "docs/cli-administration.md",
    "docs/cli-store.md",
    "docs/encryption.md",
    "docs/quotas.md",
)
EVENTS, SDK = "docs/events-and-streams.md", "docs/sdk.md"


@cache  # reading the options of every command takes a second
def commands():
    """`serve`, `projects create`, … → the names of its options."""
    return _commands_of(cli, ())


def _commands_of(group, words):
    found = {}
    for word in group:
        if word.startswith("-"):
            continue
        found |= _commands_of(group[word], (*words, word))
        if group[word].default_command is not None:
            arguments = group[word].assemble_argument_collection(default_parameter=cli.default_parameter)
            names = {name for argument in arguments for name in argument.names}
            found[" ".join((*words, word))] = {name for name in names if name.startswith("--")}
    return found


@cache
def environment_of_commands():
    arguments = [a for words in commands() for a in _command(words).assemble_argument_collection()]
    found = {variable for argument in arguments for variable in argument.parameter.env_var or ()}
    return found | set(ENVIRONMENT.values())


def _command(words):
    found = cli
    for word in words.split():
        found = found[word]
    return found


@cache
def types_in_docs():
    return {ticked(row[0])[0] for row in table("docs/events.md", "type")} | event.PRIVATE_TYPES


def test_every_setting_is_documented_with_its_default():
    rows = {ticked(row[0])[0]: row[1].strip("`") for row in table(CONFIGURATION, "setting")}
    assert rows.keys() == set(settings.NAMES)
    defaults = settings.load({})
    for setting, documented in rows.items():
        member = setting.removeprefix("RUNSTEAD_").lower()
        default = getattr(defaults, member)
        assert documented == ("" if default in (None, ()) else str(default)), setting


@each_page
def test_a_page_names_no_setting_that_does_not_exist(page):
    named = set(re.findall(r"RUNSTEAD_\w+", text(page)))
    assert named - set(settings.NAMES) - environment_of_commands() - {"RUNSTEAD_", *OF_PROGRAMS} == set()


def test_every_error_code_is_documented_with_its_status():
    rows = [row for row in table(ERRORS, "code") if len(row) == 4]
    assert {ticked(row[0])[0]: int(row[1]) for row in rows} == STATUS
    assert STATUS.keys() == CODES.keys()
    assert len(rows) == len(STATUS)


def test_every_code_that_a_run_may_carry_is_documented():
    rows = [row for row in table(ERRORS, "code") if len(row) == 3]
    assert {ticked(row[0])[0] for row in rows} == RUN_CODES.keys()
    assert len(rows) == len(RUN_CODES)


def test_every_code_of_the_sdk_is_documented():
    assert {ticked(row[0])[0]: row[1] for row in table("docs/durable.md", "code")} == SDK_CODES


def test_every_code_of_a_process_and_every_variable_of_a_program_is_documented():
    rows = table("docs/isolation.md", "code")
    assert {code for row in rows for code in ticked(row[0])} == {"EXIT_<n>", *PROCESS_CODES}
    assert tuple(ticked(row[0])[0] for row in table("docs/isolation.md", "variable")) == OF_PROGRAMS


@each_page
def test_a_page_names_no_code_that_does_not_exist_and_no_wrong_status(page):
    words = {
        word for word in ticked(prose(page)) if re.fullmatch(r"(?!OTEL_|SPAN_)[A-Z]+(_[A-Z]+)+", word)
    } - {
        "OUT_OF_STOCK",
        *OF_HTTP_CLIENTS,
    }
    known = (
        CODES.keys()
        | RUN_CODES.keys()
        | SDK_CODES.keys()
        | set(settings.NAMES)
        | environment_of_commands()
        | types_in_docs()
    )
    known |= PROCESS_CODES.keys() | set(OF_PROGRAMS)
    assert words - known == set()
    for status, code in re.findall(r"\b([45]\d\d)\s+`([A-Z_]+)`", prose(page)):
        assert int(status) == STATUS[code], code


def test_every_route_is_documented_with_its_status():
    rows = [row for page in API for row in table(page, "route")]
    documented = {ticked(row[0])[0]: int(row[1]) for row in rows}
    assert documented == {f"{each.method} {each.path}": each.status for each in operations()}
    assert len(rows) == len(documented)


@each_page
def test_a_page_names_no_route_that_does_not_exist(page):
    named = set(re.findall(r"\b((?:GET|POST|PUT|PATCH|DELETE) /[\w{}/.-]*)", prose(page)))
    assert named - {f"{each.method} {each.path}" for each in operations()} == set()


def options_under(heading):
    under = "".join(map(text, (CLI, *OTHERS))).partition(f"{heading}\n")[2].partition("\n##")[0]
    assert under, f"none of {CLI}, {', '.join(OTHERS)} has the heading {heading}"
    return set(re.findall(r"^\| `(--[\w-]+)`", under, re.MULTILINE))


def test_every_command_is_documented_with_its_options():
    assert commands(), "the command line has commands"
    common = options_under("## Server selection")  # documented once; a command may add to them
    assert common == {"--url", "--key", "--project", "--profile", "--json"}
    for words, options in commands().items():
        documented = options_under(f"### `runstead {words}`")
        assert documented <= options, words
        assert options - documented <= (common if "--profile" in options else set()), words


def test_every_command_that_is_documented_exists():
    documented = re.findall(r"^### `runstead ([^`]+)`", "".join(map(text, (CLI, *OTHERS))), re.MULTILINE)
    assert sorted(documented) == sorted(commands())


LINES = [
    line.removeprefix("$ ")
    for block in blocks("console")
    for line in block.text.splitlines()
    if line.startswith("$ ") and "runstead " in line
]


@pytest.mark.parametrize("line", LINES)
def test_a_command_in_a_page_is_one_that_the_program_takes(line, monkeypatch):
    monkeypatch.setenv("RUNSTEAD_KEY", "vf_local_YOUR-KEY")
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&<>()")
    lexer.whitespace_split, lexer.commenters = True, ""
    for is_operator, part in groupby(lexer, key=lambda word: not word.strip("|&<>()")):
        words = [*part]
        if not is_operator and "runstead" in words:
            given = words[words.index("runstead") + 1 :] + (["id"] if "xargs" in words else [])
            cli.parse_args(given, exit_on_error=False, print_error=False)


def test_every_exit_code_is_documented():
    from runstead.cli import BROKEN_PIPE, INTERRUPTED, USAGE
    from runstead.cli.shared import connection, exit_codes, output

    codes = {0, output.REFUSED, USAGE, connection.UNREACHABLE, exit_codes.FAILED, exit_codes.CANCELLED}
    codes |= {exit_codes.MIGRATIONS_PENDING, exit_codes.MIGRATIONS_NOT_SAFE}
    assert {int(row[0]) for row in table(CLI, "exit code")} == codes | {INTERRUPTED, BROKEN_PIPE}


@each_page
def test_a_page_names_no_command_or_option_that_does_not_exist(page):
    known = commands()
    groups = {words.split()[0] for words in known}
    for words in re.findall(r"`runstead ([a-z]+(?: [a-z]+)?)(?=`| -| [A-Z])", text(page)):
        # The word after a command, as in `runstead init orders`, is its argument.
        assert words in groups | known.keys() or words.split()[0] in known
    options = set().union(*known.values()) | {"--help", "--version"}
    if page.name != "CONTRIBUTING.md":  # which names options of other programs
        mine = {word for word in ticked(prose(page)) if re.fullmatch(r"--[\w-]+", word)}
        assert mine - options == set()


def test_the_sentences_that_clients_match_are_documented_correctly():
    from runstead.core.runs import append

    documented = {ticked(row[0])[0]: ticked(row[1])[0] for row in table(EVENTS, "`detail`")}
    assert {append.MISMATCH, append.RUN_TERMINAL, append.RUN_WAITING, append.TOO_LARGE} <= documented.keys()
    source = (ROOT / "src/runstead/commands/create.py").read_text()
    for sentence, code in documented.items():
        assert code in CODES
        assert sentence in source or sentence in vars(append).values()


def test_scopes_and_roles_are_documented_correctly():
    assert {ticked(row[0])[0] for row in table("docs/authentication.md", "scope")} == set(Scope)
    roles = {ticked(row[0])[0]: ticked(row[1]) for row in table("docs/authentication.md", "role")}
    assert roles.keys() == ROLE_SCOPES.keys()
    for role, scopes in roles.items():
        assert (set(scopes) or set(Scope) - {Scope.SYSTEM}) == ROLE_SCOPES[role], role


def test_every_kind_of_resume_is_documented():
    rows = table("docs/run-lifecycle.md", "reason")
    assert {kind: ticked(row[0])[0] for row in rows for kind in ticked(row[1]) if kind in RESUMES} == RESUMES


def test_every_method_of_the_client_is_documented():
    documented = {ticked(row[0])[0]: set(ticked(row[1])) for row in table(SDK, "resource")}
    with Client("http://server.test") as client:
        resources = {noun: getattr(client, noun) for noun in vars(Resources) if not noun.startswith("_")}
    assert documented == {
        noun: {verb for verb in dir(resource) if not verb.startswith("_")}
        for noun, resource in resources.items()
    }
    classes = set(re.findall(r"`((?:Run|Async|Blocking)\w+|Client|Worker|Retries|\w+Error)\b", text(SDK)))
    assert classes - {"TimeoutError"} <= set(sdk_names)


def test_every_member_of_a_handle_is_documented():
    documented = {word.partition("(")[0] for row in table(SDK, "member") for word in ticked(row[0])}
    members = {word for word in dir(RunHandle(None, "r")) if not word.startswith("_")}
    assert documented == members == {word for word in dir(BlockingRunHandle(None, "r")) if word[0] != "_"}
