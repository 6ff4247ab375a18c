"""Forms: their fields, and the check of values."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from runstead.core.conversations.form import FormField, check_fields, fill
from runstead.core.errors import Error

SECRET = "correct horse battery staple"


def field(kind="text", name="f", **members):
    if kind in {"select", "radio"}:
        members = {"options": [{"value": "a", "label": "A"}, {"value": "b", "label": "B"}], **members}
    return msgspec.convert({"name": name, "label": name.upper(), "type": kind, **members}, FormField)


def shown(*fields):
    return msgspec.json.decode(check_fields(list(fields)))


def filled(values, *fields):
    return fill(check_fields(list(fields)), values)


def faults(act, *args):
    with pytest.raises(Error) as caught:
        act(*args)
    assert caught.value.code == "INVALID_REQUEST"
    return dict(caught.value.errors)


def test_defaults_are_filled_in_and_optional_members_stay_absent():
    assert shown(field()) == [{"name": "f", "label": "F", "type": "text", "required": False, "secret": False}]
    assert shown(field("textarea"))[0]["rows"] == 3
    assert shown(field("checkbox"))[0]["defaultValue"] is False
    confirm = shown(field("confirm"))[0]
    assert (confirm["confirmLabel"], confirm["denyLabel"]) == ("Yes", "No")


def test_members_of_other_types_are_dropped():
    kept = shown(field("checkbox", placeholder="p", minLength=3, rows=2, confirmLabel="ok"))[0]
    assert set(kept) == {"name", "label", "type", "required", "secret", "defaultValue"}


def test_a_password_is_always_secret_and_no_secret_has_a_default():
    kept = shown(
        field("password", secret=False, defaultValue=SECRET),
        field(name="g", secret=True, defaultValue=SECRET),
    )
    assert [one["secret"] for one in kept] == [True, True]
    assert SECRET not in str(kept)


def test_an_inconsistent_form_is_refused_with_every_error():
    fields = [
        field(name="a"),
        field(name="a"),
        FormField(name="b", label="B", type="select"),
        field("radio", "c", options=[{"value": "x", "label": "X"}] * 2),
        field("checkbox", "d", defaultValue="yes"),
        field("text", "e", defaultValue=True),
        field("text", "g", minLength=3, maxLength=2),
        field("number", "h", min=3, max=2),
    ]
    assert faults(check_fields, fields) == {
        "$.fields[1].name": "another field has this name",
        "$.fields[2].options": "a select needs options",
        "$.fields[3].options": "two options have the same value",
        "$.fields[4].defaultValue": "must be a boolean",
        "$.fields[5].defaultValue": "must be a string",
        "$.fields[6].minLength": "is larger than maxLength",
        "$.fields[7].min": "is larger than max",
    }


GOOD = [
    (field(), "anything"),
    (field("textarea"), "two\nlines"),
    (field("email"), "ada@example.org"),
    (field("url"), "https://example.org/a?b=c"),
    (field("url"), "mailto:ada@example.org"),
    (field("number"), 5),
    (field("number"), -2.5),
    (field("number"), "1e3"),
    (field("number", min=0, max=10), "10"),
    (field("select"), "a"),
    (field("radio"), "b"),
    (field("checkbox"), True),
    (field("confirm"), False),
    (field(minLength=2, maxLength=3), "abc"),
    (field(pattern="(a+)+$"), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"),
]


@pytest.mark.parametrize(("one", "value"), GOOD, ids=range(len(GOOD)))
def test_a_valid_value_is_stored_unchanged(one, value):
    result = filled({"f": value}, one)
    assert (result.values, result.secrets) == ({"f": value}, {})
    assert type(result.values["f"]) is type(value)


BAD = [
    (field(), 5, "must be a string"),
    (field(), True, "must be a string"),
    (field(), "x" * 65_537, "has more than 65536 characters"),
    (field("email"), "ada", "must be an e-mail address"),
    (field("url"), "example.org", "must be an absolute URL"),
    (field("url"), "https://a b", "must be an absolute URL"),
    (field("number"), "five", "must be a number"),
    (field("number"), True, "must be a number"),
    (field("number"), "NaN", "must be a number"),
    (field("number", min=1), 0, "is smaller than the field's min"),
    (field("number", max=1), "1.5", "is larger than the field's max"),
    (field("select"), "c", "must be the value of one of the options"),
    (field("radio"), True, "must be a string"),
    (field("checkbox"), "true", "must be a boolean"),
    (field("confirm"), 1, "must be a boolean"),
    (field(minLength=2), "a", "has fewer than 2 characters"),
    (field(maxLength=2), "abc", "has more than 2 characters"),
]


@pytest.mark.parametrize(("one", "value", "why"), BAD, ids=range(len(BAD)))
def test_an_invalid_value_is_refused_with_the_reason(one, value, why):
    assert faults(filled, {"f": value}, one) == {"$.values.f": why}


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_required_value_must_be_given(nothing):
    one = field(required=True, minLength=3)
    assert faults(filled, {"f": nothing}, one) == {"$.values.f": "is required"}
    assert faults(filled, {}, one) == {"$.values.f": "is required"}
    assert filled({"f": nothing}, field(minLength=3)).values == {"f": nothing}
    assert filled({}, field()).values == {}


def test_false_and_zero_are_values():
    assert filled({"f": False}, field("confirm", required=True)).values == {"f": False}
    assert filled({"f": 0}, field("number", required=True)).values == {"f": 0}


def test_every_bad_value_has_its_error_and_unknown_names_are_refused():
    found = faults(filled, {"a": 1, "b": "x", "z": None}, field(name="a"), field("email", "b"))
    assert set(found) == {"$.values.a", "$.values.b", "$.values.z"}


def test_values_of_secret_fields_are_withheld():
    fields = (
        field("password", "p"),
        field("number", "n", secret=True),
        field(name="q", secret=True),
        field(),
    )
    result = filled({"p": SECRET, "n": 7, "q": None, "f": "seen"}, *fields)
    assert result.values == {"p": None, "n": None, "q": None, "f": "seen"}
    assert result.secrets == {"p": SECRET, "n": 7}


def test_no_error_contains_a_value():
    fields = [field("password", "p", maxLength=3), field("select", "s", secret=True), field("email", "e")]
    with pytest.raises(Error) as caught:
        filled(dict.fromkeys("pse", SECRET), *fields)
    assert SECRET not in str(caught.value.message) + str(caught.value.errors)


def test_a_digest_identifies_the_same_values_with_the_same_salt_only():
    fields = (field("password", "p"), field())
    one = filled({"p": SECRET, "f": "x"}, *fields)
    assert one.digest(b"salt") == filled({"f": "x", "p": SECRET}, *fields).digest(b"salt")
    assert one.digest(b"salt") != one.digest(b"pepper")
    assert one.digest(b"salt") != filled({"p": "other", "f": "x"}, *fields).digest(b"salt")


@given(
    st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5))
)
def test_any_values_are_accepted_or_refused_and_no_secret_is_returned(values):
    fields = (field("password", "p"), field(name="t", required=True), field("confirm", "c"))
    try:
        result = filled(values, *fields)
    except Error:
        return
    assert set(result.values) <= {"p", "t", "c"}
    assert result.values.get("p") is None
    assert result.values["t"]
