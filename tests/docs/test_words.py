"""The pages and the source use the terms of the glossary in CONTRIBUTING.md."""

import re

import pytest

from .pages import PAGES, ROOT, name, prose

#: Each word (a regular expression for the whole word) with the reason not to use it.
WORDS = {
    "told|tells?|telling": "Name the way: emit, send, report, log, return, show. A value has its own name.",
    "whoever|nobody|somebody|everybody|anybody": "Name who acts: the caller, a client, another worker, no worker.",
    "calls? off|called off|calling off": "The term is: cancel.",
    "runs? below|famil(?:y|ies) below": "The terms are: child, children, descendants.",
    "what came of|what became of": "The terms are: outcome, result.",
    "hereof|thereof|once more": "Write the noun, or: again.",
    "referee|reaper": "The term is: deadlines.",
    "sweeper|retirer": "The terms are: artifact gc, retention.",
    "glimpses?": "The term is: run summary.",
    "doomed": "The term is: retention candidate.",
}
#: The words as parts of identifiers count too: `told` in `told_status`.
PATTERN = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(WORDS)})(?![A-Za-z])", re.IGNORECASE)

#: CONTRIBUTING.md lists the words, CHANGELOG.md keeps the words of its time.
CHECKED_PAGES = [page for page in PAGES if page.name not in {"CONTRIBUTING.md", "CHANGELOG.md"}]
SUFFIXES = {".py", ".sql", ".html", ".js", ".css"}

#: Words that the source keeps, and why.
KEPT = {"src/runstead/sdk/durable/message_stream.py": ["told"]}  # the prefix of stored event keys


def source_files():
    """Every file of the package. A released migration never changes, so migrations keep their words."""
    return [
        file
        for file in sorted((ROOT / "src").rglob("*"))
        if file.suffix in SUFFIXES
        and not {"migrations", "vendor", "site"} & set(file.relative_to(ROOT).parts)
    ]


def words_of(text):
    """The words in a text that the glossary replaces, in lower case and without repeats."""
    separated = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", " ".join(text.split()))
    return sorted({word.lower() for word in PATTERN.findall(separated)})


@pytest.mark.parametrize("page", CHECKED_PAGES, ids=name)
def test_a_page_uses_the_terms_of_the_glossary(page):
    assert words_of(prose(page)) == []


def test_the_source_uses_the_terms_of_the_glossary():
    found = {str(file.relative_to(ROOT)): words_of(file.read_text()) for file in source_files()}
    assert {path: words for path, words in found.items() if words} == KEPT


def test_words_are_found_in_sentences_and_in_identifiers():
    assert words_of("Nobody is told.") == ["nobody", "told"]
    assert words_of("told_status, runGlimpse, called\noff") == ["called off", "glimpse", "told"]
    assert words_of("A stool, an untold retelling, cancelled") == []
