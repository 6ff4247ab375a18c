"""The help of every command: it fits a terminal of 80 columns, and has one line for each entry in a pipe."""

import pytest

from runstead.cli.app import app


def every_command(group=app, words=()):
    yield words
    for name in group:
        if not name.startswith("-"):
            yield from every_command(group[name], (*words, name))


COMMANDS = sorted(every_command())


def test_every_help_fits_80_columns_and_is_whole_in_a_pipe(bare):
    assert ("runs", "artifacts", "get") in COMMANDS
    for words in COMMANDS:
        if not words:
            continue
        wrapped, whole = bare(*words, "--help", columns=80), bare(*words, "--help")
        assert (wrapped.code, whole.code) == (0, 0)
        assert max(map(len, wrapped.lines)) <= 80, words
        assert " ".join(wrapped.out.split()) == " ".join(whole.out.split()), words
        heads = [line for line in whole.lines if line.startswith("  ")]
        assert all(line[2] != " " for line in heads), words  # no entry is continued on a second line
        texts = [line[2:].partition("  ")[2].strip() for line in heads]
        assert all(texts), (words, heads)  # every entry has its text on its own line


@pytest.mark.parametrize("columns", [40, 200])
def test_help_fits_narrow_and_wide_terminals(bare, columns):
    shown = bare("runs", "create", "--help", columns=columns)
    assert max(map(len, shown.lines)) <= min(columns, 100)
