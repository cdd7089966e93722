"""What two readers could understand differently is refused, at every depth and in time."""

import gc
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.action import Request
from moothall.action.decode import DEPTH_MAX, check_envelope, check_text, decode_request
from moothall.core.errors import InvalidArgumentError

MIB = 1_048_576


class Open(Request):
    """A request that takes anything."""

    value: Any = None
    raw: msgspec.Raw = msgspec.Raw(b"null")
    any_names: dict[str, Any] | None = None
    number: int = 0
    ratio: float = 0.0
    text: str = ""


class Narrow(Request):
    text: str = ""
    number: int = 0


OPEN = msgspec.json.Decoder(Open)
NARROW = msgspec.json.Decoder(Narrow)


def read(body: bytes) -> Open:
    return decode_request(OPEN, Open, body)


def refuse(body: bytes | bytearray | memoryview) -> dict[str, Any]:
    with pytest.raises(InvalidArgumentError) as refused:
        decode_request(OPEN, Open, body)
    return refused.value.details


def trouble_of(check: Callable[[], object]) -> str | None:
    """Return the field that is blamed, or None."""
    try:
        check()
    except InvalidArgumentError as error:
        msgspec.json.encode(error.details)  # it can be told
        return str(error.details["field"])
    return None


TWICE: dict[str, tuple[str, str]] = {
    "side by side": ('{"text":"a","text":"b"}', "text"),
    "equal values": ('{"text":"a","text":"a"}', "text"),
    "apart": ('{"text":"a","number":1,"text":"b"}', "text"),
    "within any": ('{"value":{"a":1,"a":2}}', "value.a"),
    "within raw": ('{"raw":{"a":1,"a":2}}', "raw.a"),
    "within an object of any names": ('{"any_names":{"a":1,"a":2}}', "any_names.a"),
    "within lists": ('{"value":[0,[{"b":{"a":1,"a":2}}]]}', "value[1][0].b.a"),
    "one of them escaped": ('{"text":"a","\\u0074ext":"b"}', "text"),
    "both escaped otherwise": ('{"raw":{"\\/":1,"\\u002f":2}}', "raw./"),
    "with an escaped quote": ('{"raw":{"a\\"b":1,"a\\u0022b":2}}', 'raw.a"b'),
    "with a backslash": ('{"raw":{"\\\\":1,"\\u005c":2}}', "raw.\\"),
    "a pair and the character": ('{"raw":{"\\ud83d\\ude00":1,"😀":2}}', "raw.😀"),
    "without a name": ('{"raw":{"":1,"":2}}', 'raw.""'),
    "white space between": ('{"text" :"a","text"\n\t\r :"b"}', "text"),
    "a colon as a name": ('{"raw":{"a":"x",":":1,":":2}}', "raw.:"),
    "braces as a name": ('{"raw":{"},{":1,"},{":2}}', "raw.},{"),
    "after a value that looks like names": ('{"raw":{"a":"\\",\\"b\\":","b":1,"b":2}}', "raw.b"),
    "in the last of many objects": (
        '{"value":[' + '{"a":1},' * 99 + '{"a":1,"a":2}]}',
        "value[99].a",
    ),
    "a name beyond measure": ('{"raw":{"%s":1,"%s":2}}' % (("x" * 999,) * 2), "raw." + "x" * 64),
}


@pytest.mark.requirement("R32")
@pytest.mark.parametrize(("body", "field"), TWICE.values(), ids=TWICE.keys())
def test_name_that_stands_twice_is_refused(body: str, field: str) -> None:
    details = refuse(body.encode())
    assert (details["field"], details["remedy"]) == (field, "give it once")


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_all_kinds_of_bytes_are_checked(kind: Callable[[bytes], bytes]) -> None:
    assert refuse(kind(b'{"text":"a","text":"b"}'))["field"] == "text"
    assert decode_request(OPEN, Open, kind(b'{"text":"a"}')).text == "a"


@pytest.mark.parametrize(
    "body",
    [
        '{"text":"a","value":{"text":"a"}}',
        '{"value":[{"a":1},{"a":1}]}',
        '{"value":{"a":{"a":{"a":1}}}}',
        '{"value":["text","text"],"text":"text"}',
        '{"text":"\\"text\\":1,\\"text\\":"}',
        '{"text":"{\\"a\\":1,\\"a\\":2}"}',
        '{"raw":{"a":1,"A":2,"á":3,"a\\u0301":4}}',
        '{"raw":{"\\\\":1,"\\"":2,"\\\\\\"":3}}',
    ],
)
def test_name_may_stand_in_another_object_and_in_a_text(body: str) -> None:
    read(body.encode())


TEXTS = st.text(
    st.sampled_from('":{}[],\\ab \n') | st.characters(exclude_categories=["Cs"]), max_size=4
)
NAMES = st.sampled_from(["a", ":", "", '"', "\\", ",", '":"', "{", "é"]) | TEXTS
LEAVES = st.none() | st.integers(-9, 9) | TEXTS | NAMES


class Members(list[tuple[str, Any]]):
    """An object that may have two members of one name."""


TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(st.tuples(NAMES, inner), max_size=5).map(Members)
    ),
    max_leaves=12,
)


@st.composite
def strings(draw: st.DrawFn, text: str) -> str:
    """Write a string in one of the ways that JSON has for it."""
    if draw(st.booleans()):
        return json.dumps(text, ensure_ascii=draw(st.booleans()))
    return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in text) + '"'


@st.composite
def written(draw: st.DrawFn, tree: Any) -> str:
    """Write a tree as JSON, with white space wherever it may stand."""
    gap = draw(st.sampled_from(["", "", " ", "\n\t"]))
    if isinstance(tree, str):
        return draw(strings(tree))
    if isinstance(tree, Members):
        members = [
            f"{draw(strings(name))}{gap}:{gap}{draw(written(inner))}" for name, inner in tree
        ]
        return f"{{{gap}" + f"{gap},{gap}".join(members) + f"{gap}}}"
    if isinstance(tree, list):
        return f"[{gap}" + f"{gap},".join(draw(written(inner)) for inner in tree) + f"{gap}]"
    return json.dumps(tree)


def has_twins(tree: Any) -> bool:
    """Tell what the check must find, in the plainest way."""
    if isinstance(tree, Members):
        names = [name for name, _ in tree]
        if any(names.count(name) > 1 for name in names):
            return True
        return any(has_twins(inner) for _, inner in tree)
    return isinstance(tree, list) and any(map(has_twins, tree))


def has_null(tree: Any) -> bool:
    """Tell whether the character U+0000 is in some text or name."""
    if isinstance(tree, Members):
        return any("\0" in name or has_null(inner) for name, inner in tree)
    return (
        "\0" in tree
        if isinstance(tree, str)
        else (isinstance(tree, list) and any(map(has_null, tree)))
    )


@pytest.mark.requirement("R32")
@given(st.data(), TREES)
def test_exactly_the_texts_with_a_name_twice_are_refused(data: st.DataObject, tree: Any) -> None:
    text = data.draw(written(tree)).encode()
    msgspec.json.decode(text)
    assert (trouble_of(lambda: check_text(text)) is not None) == (has_twins(tree) or has_null(tree))


@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]":,\\u0a1 '), max_size=60))
def test_any_text_is_judged_without_a_fault(text: bytes | str) -> None:
    raw = text if isinstance(text, bytes) else text.encode()
    trouble_of(lambda: check_text(raw))
    try:
        json.loads(raw.decode())
        msgspec.json.decode(raw)
    except (ValueError, msgspec.DecodeError):
        return
    with_pairs = json.loads(raw.decode(), object_pairs_hook=Members)
    expected = has_twins(with_pairs) or has_null(with_pairs)
    assert (trouble_of(lambda: check_text(raw)) is not None) == expected


def nested(opening: str, closing: str, levels: int) -> str:
    return opening * levels + "1" + closing * levels


LEVELS = {"lists": ("[", "]"), "objects": ('{"a":', "}"), "both": ('[{"a":', "}]")}


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("field", ["value", "raw", "any_names"])
@pytest.mark.parametrize(("opening", "closing"), LEVELS.values(), ids=LEVELS.keys())
def test_depth_has_one_bound(field: str, opening: str, closing: str) -> None:
    step = len(opening.replace('"a":', ""))
    # The body is one level, and so is the object of any names.
    room = (DEPTH_MAX - 2) // step
    most, more = (nested(opening, closing, levels) for levels in (room, room + 1))
    read(f'{{"{field}":{{"x":{most}}}}}'.encode())
    details = refuse(f'{{"{field}":{{"x":{more}}}}}'.encode())
    assert (details["field"], details["depth_max"]) == ("body", DEPTH_MAX)


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("levels", [33, 900, 1_100, 100_000])
@pytest.mark.parametrize("field", ["value", "raw", "any_names", "number", "text", "unknown"])
@pytest.mark.parametrize(("opening", "closing"), LEVELS.values(), ids=LEVELS.keys())
def test_too_deep_is_refused_in_every_field(
    field: str, levels: int, opening: str, closing: str
) -> None:
    body = f'{{"{field}":{nested(opening, closing, levels)}}}'.encode()
    assert refuse(body)["field"] in {"body", field}


@pytest.mark.parametrize("text", ["[" * 99, '"]"' * 99, '\\"[' * 99, "[[{{" * 50])
def test_brackets_within_a_text_are_no_depth(text: str) -> None:
    body = json.dumps({"value": [[text], {text: 1}], "text": text}).encode()
    assert read(body).text == text


def test_brackets_beside_each_other_are_no_depth() -> None:
    read(b'{"value":[' + b",".join([b"[],{},[{}]"] * 5_000) + b"]}")


NO_UTF_8 = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"]


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("wrong", NO_UTF_8)
@pytest.mark.parametrize(
    "body",
    [b'{"text":"%b"}', b'{"value":"%b"}', b'{"raw":"%b"}', b'{"raw":{"%b":1}}', b'{"%b":1}',
     b'{"any_names":{"%b":1}}', b'{"number":"%b"}', b'{"value":%b}', b"{%b}", b"%b{}", b"{}%b"],
)  # fmt: skip
def test_what_is_no_utf_8_is_refused_wherever_it_stands(body: bytes, wrong: bytes) -> None:
    refuse(body % wrong)


NULS = {
    "in a text": (r'{"text":"a\u0000b"}', "text"),
    "after a backslash": (r'{"text":"\\\u0000"}', "text"),
    "in a value of any kind": (r'{"value":[1,{"a":["\u0000"]}]}', "value[1].a[0]"),
    "in JSON that is handed on": (r'{"raw":{"b":"\u0000"}}', "raw.b"),
    "in a name": (r'{"raw":{"b":{"\u0000":1}}}', "raw.b"),
}


@pytest.mark.requirement("R32")
@pytest.mark.parametrize(("body", "field"), NULS.values(), ids=NULS.keys())
def test_nul_is_refused_wherever_it_stands(body: str, field: str) -> None:
    details = refuse(body.encode())
    assert (details["field"], details["remedy"]) == (field, "leave it out")


def test_what_only_looks_like_nul_is_text() -> None:
    assert decode_request(OPEN, Open, rb'{"text":"\\u0000"}').text == r"\u0000"


NO_NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "01",
    "-01",
    "+1",
    ".5",
    "1.",
    "1e",
    "0x1",
    "-",
    "1_0",
]
HALVES = ['"\\ud800"', '"\\ud800x"', '"\\udc00"']
NO_STRINGS = ['"\\x41"', '"\\u12"', '"\\u12g4"', '"\\U0041"', "'a'", '"a', "a"]
CONTROLS = ['"\n"', '"\t"', '"\x00"', '"\x1f"']


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("field", ["value", "raw", "number", "ratio", "text", "unknown"])
@pytest.mark.parametrize("wrong", [*NO_NUMBERS, *HALVES, *NO_STRINGS, *CONTROLS])
def test_what_is_no_value_is_refused_in_every_field(field: str, wrong: str) -> None:
    assert refuse(f'{{"{field}":{wrong}}}'.encode())["field"] in {"body", field}


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 5_000])
@pytest.mark.parametrize("field", ["value", "number", "ratio", "text"])
def test_number_out_of_range_is_refused_in_every_field(field: str, number: str) -> None:
    assert refuse(f'{{"{field}":{number}}}'.encode())["field"] == field


def test_number_that_is_nearly_nothing_is_nothing() -> None:
    assert read(b'{"ratio":1e-400,"number":-0}') == Open(ratio=0.0, number=0)


ENVELOPE = '{"jsonrpc":"2.0","id":"7","method":"a.b","params":%s,"meta":%s}'


@pytest.mark.requirement("R31")
@pytest.mark.requirement("R32")
@pytest.mark.parametrize("padding", ["", " " * 10_000], ids=["small", "large"])
def test_envelope_leaves_the_request_to_its_decoder(padding: str) -> None:
    def trouble(text: str) -> str | None:
        return trouble_of(lambda: check_envelope((text + padding).encode(), "params"))

    assert trouble(ENVELOPE % ('{"id":1,"id":2}', '{"id":3}')) is None
    assert trouble(ENVELOPE % ("{}", '{"key":1,"key":2}')) == "meta.key"
    assert trouble(ENVELOPE % ("{}", '{"key":[{"a":1,"\\u0061":2}]}')) == "meta.key[0].a"
    assert trouble(ENVELOPE.replace('"jsonrpc"', '"params"') % ("{}", "{}")) == "params"
    assert trouble(ENVELOPE.replace('"jsonrpc"', '"m\\u0065ta"') % ("{}", "{}")) == "meta"
    assert trouble(ENVELOPE.replace('"2.0"', '{"id":1,"id":2}') % ("{}", "{}")) == "jsonrpc.id"


HOSTILE: dict[str, str] = {
    "a list of objects": "[" + ",".join(['{"a":1}'] * (MIB // 8)) + "]",
    "empty objects": "[" + ",".join(["{}"] * (MIB // 3)) + "]",
    "deep lists": "[" + ",".join(["[" * 28 + "]" * 28] * (MIB // 57)) + "]",
    "many names": "{" + ",".join(f'"{index}":1' for index in range(MIB // 11)) + "}",
    "escaped names": "{" + ",".join(f'"\\u0061{index}":1' for index in range(MIB // 16)) + "}",
    "escapes": '"' + "\\n" * (MIB // 2) + '"',
    "backslashes": '"' + "\\\\" * (MIB // 2) + '"',
    "escaped quotes": '"' + '\\"' * (MIB // 2) + '"',
    "quoted brackets": "[" + ",".join(['"["'] * (MIB // 4)) + "]",
    "white space": '{"a"' + " " * MIB + ":1}",
    "a huge number": "[" + "9" * 4_000 + "]",
}


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_mebibyte_takes_no_longer_than_its_size(value: str) -> None:
    """Each is some 10 to 100 ms; what grows with the square of the size takes minutes."""
    gc.freeze()  # as a hall does: what other tests have left is no part of it
    start = time.thread_time()
    body = f'{{"value":{value}}}'.encode()
    read(body)
    assert refuse(body[:-1] + b',"text":"a","text":"b"}')["field"] == "text"
    seconds = time.thread_time() - start
    gc.unfreeze()
    assert seconds < 5


def test_a_narrow_request_refuses_before_it_reads_on() -> None:
    body = b'{"value":' + b"[" * MIB + b"]" * MIB + b"}"
    with pytest.raises(InvalidArgumentError) as refused:
        decode_request(NARROW, Narrow, body)
    assert refused.value.details["field"] == "value"
