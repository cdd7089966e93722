"""Every bad body gets an answer that names the field and what to do."""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from moothall.action import Id, Name, Request, ResourcePath, SafeInteger, Slug, TimeMs
from moothall.action.decode import decode_request
from moothall.core.errors import InvalidArgumentError


class Direction(StrEnum):
    ASCENDING = "ascending"
    DESCENDING = "descending"


class Entry(Request):
    member: Slug
    score: SafeInteger = 0
    note: Annotated[str, Meta(max_length=3)] | None = None


class Import(Request):
    entries: Annotated[list[Entry], Meta(min_length=1, max_length=2)]
    name: Name = "x"
    at: ResourcePath = ""
    direction: Direction = Direction.ASCENDING
    mode: Literal["fast", "slow"] = "fast"
    weights: dict[Id, SafeInteger] | None = None
    first: Entry | None = None
    pair: tuple[Slug, int] | None = None
    ratio: Annotated[float, Meta(gt=0, lt=1)] | None = None
    since: TimeMs | None = None
    is_final: bool = False
    code: Annotated[str, Meta(pattern="^[0-9]+$")] | None = None


class Empty(Request):
    pass


DECODER = msgspec.json.Decoder(Import)
ONE = '"entries": [{"member": "ada"}]'


def refuse(body: bytes | str) -> dict[str, object]:
    raw = body.encode() if isinstance(body, str) else body
    with pytest.raises(InvalidArgumentError) as refused:
        decode_request(DECODER, Import, raw)
    return refused.value.details


CASES: dict[str, tuple[str, str, str, str]] = {
    "missing": ("{}", "entries", "the field is missing", "give it"),
    "misspelt": (f'{{{ONE}, "nmae": "a"}}', "nmae", "there is no such field", "did you mean name?"),
    "misspelt within": (
        '{"entries": [{"member": "ada"}, {"member": "bob", "scor": 1}]}',
        "entries[1].scor",
        "there is no such field",
        "did you mean score?",
    ),
    "missing within": ('{"entries": [{}]}', "entries[0].member", "the field is missing", "give it"),
    "pattern": (
        '{"entries": [{"member": "Ada!"}]}',
        "entries[0].member",
        "the text has not the form it must have",
        "Lower-case letters, digits and inner hyphens, 1 to 64 characters.",
    ),
    "line break at the end": (
        '{"entries": [{"member": "ada\\n"}]}',
        "entries[0].member",
        "the text has not the form it must have",
        "Lower-case letters, digits and inner hyphens, 1 to 64 characters.",
    ),
    "pattern without words": (
        f'{{{ONE}, "code": "x"}}',
        "code",
        "the text has not the form it must have",
        "match '^[0-9]+$'",
    ),
    "too few": (
        '{"entries": []}',
        "entries",
        "this is too long or too short",
        "give at least 1 items",
    ),
    "text for a number": (
        '{"entries": [{"member": "ada", "score": "9"}]}',
        "entries[0].score",
        "this is text, not a whole number",
        "A whole number between -(2^53 - 1) and 2^53 - 1.",
    ),
    "beyond 2^53": (
        '{"entries": [{"member": "ada", "score": 9007199254740993}]}',
        "entries[0].score",
        "the number is out of range",
        "A whole number between -(2^53 - 1) and 2^53 - 1.",
    ),
    "too long within an optional": (
        '{"entries": [{"member": "ada", "note": "abcd"}]}',
        "entries[0].note",
        "this is too long or too short",
        "give at most 3 characters",
    ),
    "enum": (
        f'{{{ONE}, "direction": "ascendng"}}',
        "direction",
        "'ascendng' is none of the choices",
        "did you mean ascending, descending?",
    ),
    "literal": (
        f'{{{ONE}, "mode": "warp"}}',
        "mode",
        "'warp' is none of the choices",
        "choose one of fast, slow",
    ),
    "value of an object": (
        f'{{{ONE}, "weights": {{"a": "b"}}}}',
        "weights[...]",
        "this is text, not a whole number",
        "A whole number between -(2^53 - 1) and 2^53 - 1.",
    ),
    "within an optional object": (
        f'{{{ONE}, "first": {{"member": 7}}}}',
        "first.member",
        "this is a whole number, not text",
        "Lower-case letters, digits and inner hyphens, 1 to 64 characters.",
    ),
    "bound of a fraction": (
        f'{{{ONE}, "ratio": 1.5}}',
        "ratio",
        "the number is out of range",
        "give less than 1.0",
    ),
    "1e999": (
        f'{{{ONE}, "ratio": 1e999}}',
        "ratio",
        "the number is out of range",
        "give one that is nearer to zero",
    ),
    "yes for true": (
        f'{{{ONE}, "is_final": "yes"}}',
        "is_final",
        "this is text, not true or false",
        "give true or false",
    ),
    "null": (f'{{{ONE}, "is_final": null}}', "is_final", "this is null, not true or false", "give"),
    "a list": ("[]", "body", "this is a list, not an object", "give an object"),
    "pair too short": (
        f'{{{ONE}, "pair": []}}',
        "pair",
        "this is too long or too short",
        "give exactly 2 items",
    ),
    "within a pair": (
        f'{{{ONE}, "pair": ["ada", "x"]}}',
        "pair[1]",
        "this is text, not a whole number",
        "give a whole number",
    ),
    "before 1970": (
        f'{{{ONE}, "since": -1}}',
        "since",
        "the number is out of range",
        "UTC epoch milliseconds.",
    ),
}


@pytest.mark.requirement("R40")
@pytest.mark.parametrize(("body", "field", "reason", "remedy"), CASES.values(), ids=CASES.keys())
def test_a_wrong_field_is_named_with_its_remedy(
    body: str, field: str, reason: str, remedy: str
) -> None:
    details = refuse(body)
    assert (details["field"], details["reason"]) == (field, reason)
    assert str(details["remedy"]).startswith(remedy)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}{}",
        b'{"entries": NaN}',
        b'{"entries": Infinity}',
        b'{"entries": -Infinity}',
        b"{'entries': []}",
        b'{"entries": [],}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{}",
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b"\x00",
        "{}".encode("utf-16"),
    ],
)
def test_what_is_no_json_text_is_told_so(body: bytes) -> None:
    details = refuse(body)
    assert details["field"] in {"body", "entries"}
    if details["field"] == "body":
        assert details["remedy"] == "send one JSON object in UTF-8"


@pytest.mark.parametrize("opening", ["[", '{"name":', '{"entries":[{"member":'])
def test_depth_breaks_nothing(opening: str) -> None:
    refuse(opening * 100_000)


@pytest.mark.parametrize("digits", [400, 5_000, 100_000])
def test_a_huge_number_breaks_nothing(digits: int) -> None:
    assert refuse(f'{{{ONE}, "since": {"9" * digits}}}')["field"] == "since"


@pytest.mark.parametrize("name", ["x" * 100_000, "a`b", "name` - at `$.entries[0]", "a\nb"])
def test_a_strange_field_name_is_repeated_only_in_part(name: str) -> None:
    details = refuse(json.dumps({"entries": [{"member": "ada"}], name: 1}))
    assert len(str(details)) < 400
    assert details["reason"] == "there is no such field"


def test_without_fields_the_remedy_says_so() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        decode_request(msgspec.json.Decoder(Empty), Empty, b'{"x": 1}')
    assert refused.value.details["remedy"] == "leave it out; there are no fields"


def fault_of(body: bytes) -> dict[str, object] | None:
    """Return the details of the refusal, or None for a request; anything else is a bug."""
    try:
        assert isinstance(decode_request(DECODER, Import, body), Import)
    except InvalidArgumentError as error:
        return error.details
    return None


@given(st.binary(max_size=200))
def test_any_bytes_give_a_request_or_a_refusal(body: bytes) -> None:
    details = fault_of(body)
    assert details is None or (details["field"] and details["remedy"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
FIELDS = st.sampled_from([*Import.__struct_fields__, "x"])


@given(st.dictionaries(FIELDS, JSON, max_size=2))
@settings(max_examples=40)
def test_any_values_give_a_request_or_a_refusal_with_a_remedy(body: dict[str, Any]) -> None:
    details = fault_of(json.dumps({"entries": [{"member": "a"}], **body}).encode())
    assert details is None or (details["field"] and details["remedy"])
