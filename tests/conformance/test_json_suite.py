"""What is JSON is taken and what is none is refused, as RFC 8259 draws the line.

The tables hold the places where readers of JSON are known to differ; behind them stand
mutations of texts, judged by a second reader.
"""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moothall.action import Request
from moothall.action.decode import decode_request
from moothall.core.errors import InvalidArgumentError
from tests.conformance.http_wire import Wire, post
from tests.conformance.site import open_site

# The door decides, not what the rows lie on.
pytestmark = [pytest.mark.requirement("R32"), pytest.mark.sqlite]

SPACE = " \t\r\n"

# Section 3 to 7: each stands for a value, and its meaning is what Python makes of it.
VALUES = [
    *("null", "true", "false", "[]", "{}", '""', "[[]]", '[{"a":[{}]}]', "[null,1,true,{}]"),
    *(f"{SPACE}[{SPACE}1{SPACE},{SPACE}2{SPACE}]{SPACE}", f'{{{SPACE}"a"{SPACE}:{SPACE}1{SPACE}}}'),
    # Numbers (section 6).
    *("0", "-0", "-1", "10", "1.5", "-0.5", "0.0", "-0.0", "1e1", "1E1", "1e+1", "1e-1", "1E-0"),
    *("0e0", "0E+1", "1.25e2", "123456789012345678", "9007199254740991", "-9007199254740991"),
    *("9223372036854775807", "18446744073709551615", "0.1e00001", "1e-400", "-1e-999", "5e-324"),
    *("1.7976931348623157e308", "0.3000000000000000000000000000000000001", "1" + "0" * 30),
    # Strings (section 7).
    *(r'"\"\\\/\b\f\n\r\t"', r'"\\u0000"', r'"\u0041"', r'"\u00e9\u00E9"', r'"\uD83d\uDe00"'),
    *(
        r'"\u2028\u2029"',
        r'"\uFFFE\uffff"',
        r'"\uFDD0"',
        r'"\u200b\ufeff"',
        r'"\\u0041"',
        r'"\\\""',
    ),
    *(
        '"\x7f"',
        '"\x80"',
        '"é"',
        '"e\u0301"',
        '"€"',
        '"😀"',
        '"\U0010ffff"',
        '"\u2028"',
        '"\ufeff"',
    ),
    *('"it\'s"', '"a/b"', '"/* no comment */"', '"//"', '"[{,:}]"', '"' + "x" * 5_000 + '"'),
    # Objects (section 4).
    *('{"":0}', '{"a":1,"A":2}', '{"é":1,"e\u0301":2}', r'{"a\"b":1,"a":2}'),
    *('{" a":1,"a ":2,"a":3}', '{"__proto__":{"a":1}}', '{"a":{"a":{"a":1}}}', '{"value":1}'),
    "[" * 30 + "]" * 30,
    "[" + ",".join(["0"] * 2_000) + "]",
]

NO_VALUES = [
    *("", " ", "nul", "nulll", "Null", "NULL", "True", "FALSE", "tru", "undefined", "None", "a"),
    *("NaN", "-NaN", "nan", "Infinity", "-Infinity", "+Infinity", "inf", "1e999", "-1e999"),
    # Numbers.
    *("+1", "-", "--1", "01", "-01", "00", "1.", ".1", "-.1", "1.e1", "1e", "1e+", "1E-"),
    *("e1", "1ee1"),
    *("1.2.3", "1e1.5", "0x1", "0b1", "0o1", "1_000", "1,000", "1 000", "1a", "1f", "1n"),
    *("\uff11", "\u0663", "\xb2"),
    *("- 1", "1 e1", "1/2", "∞", "1" + "0" * 5_000),
    # Strings.
    *('"', '"a', 'a"', "''", "'a'", "`a`", '"a""b"', '"a"b', '"\\"', '"\\x41"', '"\\a"'),
    *('"\\0"', '"\\ "'),
    *('"\\u"', '"\\u1"', '"\\u12"', '"\\u123"', '"\\u12g4"', '"\\U0041"', '"\\u{41}"', '"\\u 041"'),
    *('"\\ud800"', '"\\udfff"', '"\\ud800\\ud800"', '"\\udc00\\ud800"'),
    *('"\\ud800a"', '"\\ud83d\\n"'),
    *('"\n"', '"\r"', '"\t"', '"\x00"', '"\x01"', '"\x1f"', '"a\\\n"', '"\\\t"', "“a”"),
    *('"\\é"', '"""a"""'),
    # Lists.
    *("[", "]", "[1", "1]", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[1;2]", "[1:2]", "[1}"),
    *("(1)", "[1]]"),
    *('["a', '["a",', "[[]", "[]]", "[1,\n2", "[/**/]", "[1]//", "[1]#", "[...]", "[a]"),
    *("[1,]2", "[true,fals]"),
    # Objects.
    *("{", "}", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "{,}", '{,"a":1}'),
    *('{"a":1,,"b":2}', '{"a"}'),
    *('{"a" 1}', '{"a"::1}', '{"a":}', "{:1}", "{a:1}", "{'a':1}", "{1:1}", "{null:1}"),
    *('{"a",1}', '{"a"=1}'),
    *('{"a":1 "b":2}', '{"a":1;"b":2}', '{["a"]:1}', '{"a":1}}', '{"a":1]', '{"a":1}x'),
    *('{"a":1}{}', "{...}"),
    *('{"a":1,"a":1}', '{"a":1,"b":2,"a":3}', r'{"a":1,"\u0061":2}'),
    *('{"":1,"":2}', '[{"a":{"b":1,"b":1}}]'),
    # White space and signs that some take for it.
    *("\x0b1", "\x0c1", "\xa01", "\u20281", "\u20291", "\u30001", "\ufeff1", "\u200b1", "1\x00"),
    *("\x001", "\\n1"),
    *("/**/1", "1/**/", "//\n1", "#\n1", "1//", "<!-- -->1", ")]}',\n1", "while(1);1", "1;"),
    # Too deep (decode.DEPTH_MAX).
    *("[" * 40 + "]" * 40, '{"a":' * 40 + "1" + "}" * 40, "[" * 100_000),
    *('{"a":' * 100_000, "[" * 60_000 + "]" * 60_000),
]  # fmt: skip

NO_BYTES = [
    *(
        b'"\xff"',
        b'"\xfe\xff"',
        b'"\x80"',
        b'"\xc3"',
        b'"\xc0\xaf"',
        b'"\xc0\x80"',
        b'"\xe0\x80\x80"',
    ),
    *(b'"\xed\xa0\x80"', b'"\xed\xbf\xbf"', b'"\xed\xa0\xbd\xed\xb8\x80"', b'"\xf4\x90\x80\x80"'),
    *(b'"\xf8\x88\x80\x80\x80"', b'"\xf0\x9f\x98"', b'{"\xff":1}', b"\xff", b"[1\xff]", b'"\xe9"'),
]

NO_BODIES = [
    b"\xef\xbb\xbf" + b'{"value":1}',
    *('{"value":1}'.encode("utf-16"), '{"value":1}'.encode("utf-16-le")),
    *('{"value":1}'.encode("utf-16-be"), '{"value":1}'.encode("utf-32"), b"null", b"1"),
    *(b'"value"', b"[1]"),
    *(b'{"value":1}\x00', b'{"value":1}{"value":1}', b'{"value":1}\n{"value":1}'),
    *(b"\x00", b"\x1f\x8b\x08\x00"),
    *(b'{"value":1,"value":1}', b'{"value":1,"v\\u0061lue":2}', b"value=1"),
    *(b"<value>1</value>", b"---\nvalue: 1"),
    # JSON, but no text that every engine keeps.
    *(rb'{"value":"a\u0000"}', rb'{"value":"\\\u0000"}', rb'{"value":{"\u0000":1}}'),
    *(rb'{"value":[1,{"a":"\u0000"}]}', rb'{"value":1,"\u0000":1}'),
]  # fmt: skip


def body_of(value: str | bytes) -> bytes:
    return b'{"value":%b}' % (value if isinstance(value, bytes) else value.encode())


async def ask(wire: Wire, body: bytes) -> tuple[int, Any]:
    answer = await wire.ask(post("echo.repeat_value", body))
    return answer.status, answer.json


async def test_what_is_json_comes_back_as_it_was(tmp_path: Path) -> None:
    async with open_site(tmp_path) as (_, wire):
        for text in VALUES:
            status, told = await ask(wire, body_of(text))
            assert status == 200, (text[:80], told)
            meant = json.loads(text)
            assert told == {"value": meant}, text[:80]
            assert type(told["value"]) is type(meant), text[:80]


async def test_what_is_no_json_is_refused_and_the_next_call_is_served(tmp_path: Path) -> None:
    async with open_site(tmp_path) as (_, wire):
        for body in [*map(body_of, NO_VALUES), *map(body_of, NO_BYTES), *NO_BODIES]:
            status, told = await ask(wire, body)
            assert (status, told["code"]) == (400, "invalid_argument"), (body[:80], told)
            assert told["details"]["field"]
            assert told["details"]["remedy"]
        assert await ask(wire, b'{"value":1}') == (200, {"value": 1})


# --- mutations ------------------------------------------------------------------------------------


class AnyValue(Request):
    value: Any = None


DECODER = msgspec.json.Decoder(AnyValue)


class Dubious(ValueError):  # noqa: N818 - it never leaves this file
    """The second reader would take it; the hall says no."""


def read_strictly(body: bytes) -> Any:
    """Read JSON with the standard library, and refuse what it is lax about.

    Raises:
        ValueError: It is no JSON object of one member ``value`` at most.
    """

    def refuse(_text: str) -> Any:
        raise Dubious

    def members_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Dubious
        return dict(pairs)

    def finite(text: str) -> float:
        if not math.isfinite(number := float(text)):
            raise Dubious
        return number

    read = json.loads(
        body.decode(), parse_constant=refuse, parse_float=finite, object_pairs_hook=members_of
    )
    json.dumps(read, ensure_ascii=False).encode()  # halves of surrogate pairs
    if r"\u0000" in json.dumps(read).replace(r"\\", ""):
        raise Dubious
    if not isinstance(read, dict) or read.keys() - {"value"}:
        raise Dubious
    return read.get("value")


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
TEXTS = st.builds(
    lambda tree, is_ascii, gap: json.dumps(
        {"value": tree}, ensure_ascii=is_ascii, separators=(f"{gap},{gap}", f"{gap}:{gap}")
    ).encode(),
    TREES,
    st.booleans(),
    st.sampled_from(["", " ", "\n"]),
)
BITS = [
    *(bytes([one]) for one in b'{}[]:,"\\/ \n\t\x00\x1f\x7f+-.eE0123456789abfnrtu\x80\xc3\xed\xff'),
    *(
        b"\\u",
        b"\\ud800",
        b'"a":',
        b"null",
        b"true",
        b"NaN",
        b"1e999",
        b"//",
        b"/**/",
        b"\xef\xbb\xbf",
    ),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a text of which some bytes are lost, doubled, moved or replaced."""
    text = draw(TEXTS)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 4)))
        piece = text[start:end]
        change = draw(st.sampled_from([b"", piece * 2, piece[::-1], piece.swapcase(), *BITS]))
        text = text[:start] + change + text[end:]
    return text


@given(TEXTS | mutated())
@example(b'{"value":"\\ud800","value":1}')
def test_two_readers_agree_on_every_mutation(body: bytes) -> None:
    try:
        meant = read_strictly(body)
    except ValueError:
        with pytest.raises(InvalidArgumentError):
            decode_request(DECODER, AnyValue, body)
        return
    assert decode_request(DECODER, AnyValue, body).value == meant
