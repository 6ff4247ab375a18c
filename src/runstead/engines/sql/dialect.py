"""Statements that both engines share, and their form for each engine.

`statements/<nouns>.sql` holds the statements of a noun, each after a line `-- name: <name>`. They are written in
PostgreSQL's SQL with named parameters (`:project_id`), and translated for SQLite when they are loaded. A statement that
SQLite writes in another way has two forms: one after a line `-- postgres`, one after a line `-- sqlite`. An index that
only SQLite must be given is in braces: `{INDEXED BY runs_running}`.
In a statement, `{price}` stands for the columns of that record and `{:price}` for parameters with the same names;
`{p.price}` for the columns of the table `p`.
"""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final, Literal, NamedTuple

from runstead.engines.sql.sql_files import named_bodies

Engine = Literal["sqlite", "postgres"]

_FORM: Final = re.compile(r"^-- (sqlite|postgres)\n", re.MULTILINE)
_COMMENT: Final = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z]\w*)")
#: PostgreSQL's form of an expression → SQLite's. Lists are passed to SQLite as JSON arrays.
_FOR_SQLITE: Final = (
    (re.compile(r"= ANY \(ARRAY\[([\w.:]+)\]\)"), r"= \1"),
    (re.compile(r"= ANY \((:\w+)::\w+\[\]\)"), r"IN (SELECT value FROM json_each(\1))"),
    (re.compile(r"<> ALL \((:\w+)::\w+\[\]\)"), r"NOT IN (SELECT value FROM json_each(\1))"),
    (re.compile(r"::\w+(\[\])?"), ""),
    (re.compile(r"\s+FOR (NO KEY )?UPDATE( OF \w+)?( SKIP LOCKED)?"), ""),  # there is one writer
    (re.compile(r"\bctid\b"), "rowid"),
    (re.compile(r"\bgreatest\("), "max("),
)
_INDEX: Final = re.compile(r" \{(INDEXED BY \w+)\}")
_ANY_OF_QUERY: Final = "= ANY (ARRAY("


class Statement(NamedTuple):
    """`parameters`: the names of its arguments, in the order in which an engine takes them."""

    text: str
    parameters: tuple[str, ...]


class Update(NamedTuple):
    """The statement that sets columns of the row with `:id`. `versioned`: only where `:old_version` is its version."""

    table: str
    columns: tuple[str, ...]
    versioned: bool = False


class Dialect:
    """The statements of one engine."""

    def __init__(
        self,
        engine: Engine,
        columns: Mapping[str, Sequence[str]],
        words: Mapping[str, str],
        bodies: Mapping[str, str] | None = None,
    ) -> None:
        """`columns`: name → the columns that `{name}` and `{:name}` stand for. `words`: other names, for this engine.
        `bodies`: name → statement as it is written, by default those of the files.
        """
        self._engine = engine
        self._columns = columns
        self._words = {
            **{name: ", ".join(names) for name, names in columns.items()},
            **{f":{name}": ", ".join(f":{each}" for each in names) for name, names in columns.items()},
            **words,
        }
        self._updates: dict[Update, Statement] = {}
        self.named: dict[str, Statement] = {}
        if bodies is None:
            bodies = named_bodies(files(__package__) / "statements")
        for name, body in bodies.items():
            if (form := self._form(body)) is not None:
                self.named[name] = self._translated(form)

    def statement(self, wanted: str | Update) -> Statement:
        if isinstance(wanted, str):
            return self.named[wanted]
        if wanted not in self._updates:
            self._updates[wanted] = self._translated(_update_text(wanted, self._engine))
        return self._updates[wanted]

    def _form(self, body: str) -> str | None:
        _, *forms = _FORM.split(body)
        return dict(zip(forms[::2], forms[1::2], strict=True)).get(self._engine) if forms else body

    def _translated(self, body: str) -> Statement:
        text = _INDEX.sub(r" \1" if self._engine == "sqlite" else "", _COMMENT.sub("", body))
        text = re.sub(r"\{(?:(\w+)\.)?(:?\w+)\}", self._expanded, text).strip()
        if self._engine == "sqlite":
            text = _any_of_query_to_in(text)
            for pattern, replacement in _FOR_SQLITE:
                text = pattern.sub(replacement, text)
        parameters = tuple(dict.fromkeys(_PARAMETER.findall(text)))
        mark = "?" if self._engine == "sqlite" else "$"
        return Statement(
            _PARAMETER.sub(lambda name: f"{mark}{parameters.index(name[1]) + 1}", text), parameters
        )

    def _expanded(self, word: re.Match[str]) -> str:
        table, name = word.groups()
        return (
            self._words[name]
            if table is None
            else ", ".join(f"{table}.{each}" for each in self._columns[name])
        )


def _update_text(update: Update, engine: Engine) -> str:
    """PostgreSQL finds the row in a subquery, which leaves it one plan (docs/decisions/0022)."""
    table, columns, versioned = update
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    row = "id = ANY (ARRAY[:id::text])" + (" AND version = :old_version" if versioned else "")
    if engine == "postgres":
        row = f"ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {row} ORDER BY id)) AND id || '' = :id"  # noqa: S608 - our names
    return f"UPDATE {table} SET {sets} WHERE {row}"  # noqa: S608 - the list of columns is generated


def _any_of_query_to_in(text: str) -> str:
    """`x = ANY (ARRAY(SELECT …))` → `x IN (SELECT …)`."""
    while (start := text.find(_ANY_OF_QUERY)) >= 0:
        inner = start + len(_ANY_OF_QUERY)
        end, depth = inner, 1
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        assert text[end] == ")", text
        text = f"{text[:start]}IN ({text[inner:end]}{text[end + 1 :]}"
    return text


def statements(package: str, words: Mapping[str, str], shared: Dialect) -> dict[str, str]:
    """Name → text, of the shared statements, and of those in the .sql files of an engine's package, which have other
    names. `{word}` in a file stands for `words["word"]`.
    """
    own = {
        name: re.sub(r"\{(\w+)\}", lambda word: words[word[1]], body.strip())
        for name, body in named_bodies(files(package)).items()
    }
    twice = own.keys() & shared.named.keys()
    assert not twice, f"two statements have the name {min(twice)}"
    return {**own, **{name: one.text for name, one in shared.named.items()}}
