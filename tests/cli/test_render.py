"""Output fits the terminal, is complete in a pipe, and is harmless."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as st

from runstead.cli.shared.render import (
    PIPE,
    Column,
    Screen,
    cut,
    details,
    document,
    format_age,
    format_duration,
    safe,
    size,
    table,
)
from runstead.cli.shared.run_tables import run_details
from runstead.sdk.models.run import Owner, Run, RunError

HOSTILE = "\x1b[2J\x1b]0;title\x07\r\x9b31m\u202eevil\u2066\u200b\ufeff\u2028\x7f\x00"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
UNSEEN = {"Cc", "Zl", "Zp"}
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def harmless(text, *, lines=""):
    return all(
        one in lines or (unicodedata.category(one) not in UNSEEN and one not in BIDI and one != "\u200b")
        for one in text
    )


def test_a_raised_exception_is_shown_with_the_lines_of_its_traceback():
    run = Run(
        run_id="r",
        kind="task",
        status="failed",
        owner=Owner(kind="project", id="p"),
        root_run_id="r",
        created_at=datetime(2026, 3, 20, tzinfo=UTC),
        updated_at=datetime(2026, 3, 20, tzinfo=UTC),
        error=RunError(message="no", code="E", detail={"type": "E", "traceback": "Traceback\n  File\n"}),
    )
    shown = details(run_details(run, PIPE), PIPE).splitlines()
    at = next(number for number, line in enumerate(shown) if line.startswith("traceback"))
    assert [line.split() for line in shown[at : at + 2]] == [["traceback", "Traceback"], ["File"]]


@given(texts)
def test_safe_text_contains_no_control_characters(text):
    assert harmless(safe(text + HOSTILE))
    assert harmless(safe(text + HOSTILE, lines=True), lines="\n\t")


def test_escapes_are_readable():
    assert safe("\x1b[31m") == "\\e[31m"
    assert safe("a\nb\tc\rd") == "a\\nb\\tc\\rd"
    assert safe("a\nb\tc\rd", lines=True) == "a\nb\tc\\rd"
    assert safe("\u202e\x9b\U000e0041\ud800") == "\\u202e\\x9b\\U000e0041\\ud800"


def test_letters_of_all_scripts_stay_unchanged():
    for text in ("Grüße", "日本語", "عربى", "👩‍💻", "नमस्ते", "می‌خواهم"):
        assert safe(text) == text


@given(
    st.recursive(st.none() | st.integers(-(2**50), 2**50) | texts, lambda inner: st.lists(inner, max_size=4))
)
def test_a_document_is_the_same_json_on_one_line_without_harm(found):
    shown = document([found, HOSTILE])
    assert json.loads(shown) == [found, HOSTILE]
    assert harmless(shown)


rows = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=5)
COLUMNS = [
    Column("ID", lambda row: row[0], keep_whole=True),
    Column("TEXT", lambda row: row[1], drop_rank=1),
    Column("COUNT", lambda row: row[2], drop_rank=2, number=True),
]


@settings(max_examples=60)
@given(rows, st.integers(20, 220))
def test_a_table_fits_the_terminal_whatever_is_in_it(found, width):
    lines = table(COLUMNS, found, Screen(width, colour=False)).split("\n")
    assert len(lines) == len(found) + 1
    assert max(map(size, lines)) <= width


@settings(max_examples=60)
@given(rows)
def test_in_a_pipe_every_cell_is_whole(found):
    text = table(COLUMNS, found, PIPE).split("\n")
    assert len(text) == len(found) + 1
    for row, line in zip(found, text[1:], strict=True):
        assert all(safe(cell).strip(" ") in line for cell in row)


def test_a_megabyte_without_a_blank_is_cut_in_a_terminal_and_whole_in_a_pipe():
    found = [("a", "x" * 1_000_000, "1"), ("b", "short", "2")]
    assert max(map(len, table(COLUMNS, found, Screen(60, colour=False)).split("\n"))) <= 60
    text = table(COLUMNS, found, PIPE)
    assert "x" * 1_000_000 in text
    assert len(text) < 1_001_000  # other rows are not padded to its width
    shown = details([("output", "x" * 1_000_000)], Screen(60, colour=False))
    assert len(shown) < 5_000
    assert "--json prints all" in shown
    assert "x" * 1_000_000 in details([("output", "x" * 1_000_000)], PIPE)


def test_columns_are_dropped_before_an_id_is_cut():
    long = "run_" + "d" * 36
    text = table(COLUMNS, [(long, "some text", "7")], Screen(50, colour=False))
    assert long in text
    assert "COUNT" not in text
    assert "COUNT" in table(COLUMNS, [(long, "some text", "7")], Screen(80, colour=False))
    assert "…" in table(COLUMNS, [(long, "some text", "7")], Screen(30, colour=False))


def test_wide_letters_count_twice():
    assert size("日本") == 4
    assert size(cut("日本語日本語", 7)) <= 7
    assert cut("abcdef", 4) == "abc…"


def test_colour_depends_on_the_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert Screen.of({"TERM": "xterm"}).colour
    assert not Screen.of({"TERM": "xterm", "NO_COLOR": "1"}).colour
    assert not Screen.of({"TERM": "dumb"}).colour
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert Screen.of({"TERM": "xterm"}) == PIPE


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0s"), (0.4, "0.4s"), (42, "42s"), (150, "2m"), (7_300, "2h"), (86_400 * 12.5, "12d")],
)
def test_a_span_has_one_unit(seconds, text):
    assert format_duration(seconds) == text


def test_times_are_ages_in_a_terminal_and_times_in_a_pipe():
    now = datetime(2026, 3, 20, 12, tzinfo=UTC)
    terminal = Screen(80, colour=False)
    assert format_age(now - timedelta(minutes=5), terminal, now) == "5m ago"
    assert format_age(now + timedelta(hours=3), terminal, now) == "in 3h"
    assert format_age(now, PIPE, now) == "2026-03-20T12:00:00Z"
    assert format_age(None, terminal, now) == ""
