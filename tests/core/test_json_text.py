"""JSON text without needless escapes has the same value."""

import json

import pytest
from hypothesis import given, strategies as st

from runstead.core.json_text import unescaped

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.recursive(texts | st.integers() | st.none(), lambda one: st.lists(one) | st.dictionaries(texts, one))
)
def test_the_value_stays_and_its_characters_are_themselves(value):
    text = unescaped(json.dumps(value).encode())
    assert json.loads(text) == value
    assert text == unescaped(json.dumps(value, ensure_ascii=False).encode())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (rb'"\u00e9\ud83d\ude00"', '"é😀"'),
        (rb'"\\u00e9 \\\u00e9"', r'"\\u00e9 \\é"'),
        (rb'"\u0022\u0000\u001f\u0041"', r'"\u0022\u0000\u001f\u0041"'),
        (rb'"\ud83d \ude00\ud83d"', r'"\ud83d \ude00\ud83d"'),
    ],
)
def test_escapes_that_are_needed_stay(text, wanted):
    assert unescaped(text).decode() == wanted
