"""Requests made from their declared types, and spoilt by type: what a hostile client might send.

A request is a tree of Python values; where a text of JSON cannot be said by a value (a name
twice, ``1e309``, half a surrogate pair), :class:`Raw` holds the text itself.
"""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect as shape

from moothall.action.declare import Action
from tests.conformance.naughty import NAUGHTY

NAUGHTY_TEXTS = list(NAUGHTY.values())

DEPTH_DEEP = 40
"""Deeper than a request may be."""


class Raw(str):
    """JSON text, or what pretends to be some."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """Members of an object, in order; a name may stand twice."""


INTEGERS = [
    *(0, 1, -1, 2, 127, 128, 255, 256, 499, 500, 501, 1_000, 32_767, 32_768, 65_536),
    *(2**31 - 1, 2**31, 2**31 + 1, 2**32, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64),
    *(-(2**31), -(2**53), -(2**63), -(2**63) - 1, 10**30, -(10**30)),
]
NUMBERS = [
    Raw(text)
    for text in (
        *("1e309", "-1e309", "1e308", "-0", "-0.0", "0e0", "1e-400", "5e-324", "NaN", "Infinity"),
        *("-Infinity", "01", "1.", ".5", "+1", "0x10", "1_000", "1e", "1E+2", "1.0", "1e2", "2.5"),
        *("9" * 400, "1e99999999999", "0." + "0" * 400 + "1", "9007199254740993.0"),
    )
]
STRINGS = [
    *(Raw(rf'"\u{code}"') for code in ("d800", "dc00", "dfff\\ud800", "0000", "fffe", "202e")),
    *(Raw('"\\x41"'), Raw('"unfinished'), Raw("'single'"), Raw('"tab\there"'), Raw('"\x00"')),
]
OTHERS: list[Any] = [None, True, False, [], {}, "", "null", [None], {"": None}, Raw(""), Raw("{")]


def encode(value: Any) -> str:
    """Return JSON text, or what stands in its place."""
    match value:
        case Raw():
            return str(value)
        case Pairs() | dict():
            pairs = value if isinstance(value, Pairs) else value.items()
            members = [f"{json.dumps(name)}:{encode(inner)}" for name, inner in pairs]
            return "{" + ",".join(members) + "}"
        case list() | tuple():
            return "[" + ",".join(map(encode, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


class Shapes:
    """Makes requests of a catalog.

    Args:
        chance: Where all choices come from.
        known: What a field of a name may hold that is really there.
    """

    def __init__(self, chance: random.Random, known: Mapping[str, Sequence[Any]]) -> None:
        self._chance = chance
        self._known = known

    def request(self, action: Action[Any, Any]) -> dict[str, Any]:
        """Return a request that has the declared shape."""
        made = self._make(shape.type_info(action.request_type), "")
        assert isinstance(made, dict)
        return made

    def spoil(self, request: dict[str, Any] | Pairs, times: int) -> Any:
        """Return a request with some of its values, names or its form spoilt."""
        spoilt: Any = request
        for _ in range(times):
            spoilt = self._spoil(spoilt)
        return spoilt

    def _make(self, declared: shape.Type, name: str) -> Any:  # noqa: C901, PLR0912 - one case a type
        chance = self._chance
        if (known := self._known.get(name)) and chance.random() < 0.9:
            return chance.choice(known)
        match declared:
            case shape.StructType():
                return {
                    field.encode_name: self._make(field.type, field.encode_name)
                    for field in declared.fields
                    if field.required or chance.random() < 0.5
                }
            case shape.UnionType():
                return self._make(chance.choice(declared.types), name)
            case shape.IntType():
                low, high = declared.ge or 0, declared.le or 2**53 - 1
                return chance.choice([low, high, low + 1, chance.randint(low, min(high, low + 99))])
            case shape.FloatType():
                return chance.choice([0.0, 1.5, -1.5, 1e300, float(chance.randrange(1_000))])
            case shape.BoolType():
                return chance.random() < 0.5
            case shape.StrType():
                return self._text(declared)
            case shape.BytesType():
                return "AAAA" * chance.randrange(4)
            case shape.EnumType():
                return chance.choice([each.value for each in declared.cls])
            case shape.LiteralType():
                return chance.choice(declared.values)
            case shape.ListType() | shape.VarTupleType():
                few = min(declared.max_length or 3, 3)
                count = chance.randint(min(declared.min_length or 0, few), few)
                return [self._make(declared.item_type, name) for _ in range(count)]
            case shape.TupleType():
                return [self._make(each, name) for each in declared.item_types]
            case shape.DictType():
                return {"a": self._make(declared.value_type, name)}
            case _:
                return None

    def _text(self, declared: shape.StrType) -> str:
        chance = self._chance
        if declared.pattern is not None:
            return chance.choice(["kart", "a", "moderator", "board/kart", "a:b", "urn:x", "a/b"])
        if chance.random() < 0.3:
            return chance.choice(NAUGHTY_TEXTS)
        least, most = declared.min_length or 0, declared.max_length or 64
        length = chance.choice([least, least + 1, most, min(most, 8)])
        return "x" * min(length, 5_000)

    def _spoil(self, value: Any) -> Any:
        """Go down to a value at random, and replace it."""
        chance = self._chance
        if isinstance(value, dict | Pairs) and value and chance.random() < 0.8:
            pairs = list(value) if isinstance(value, Pairs) else list(value.items())
            at = chance.randrange(len(pairs))
            name, inner = pairs[at]
            match chance.randrange(12):
                case 0:
                    del pairs[at]
                case 1:
                    pairs.append((name, chance.choice([inner, None, 0])))
                case 2:
                    pairs.insert(at, (chance.choice([name + "_", "", "__proto__", "x" * 99]), 1))
                case 3:
                    pairs[at] = (chance.choice([name.upper(), name + "\0", "\u202e"]), inner)
                case _:
                    pairs[at] = (name, self._spoil(inner))
            return Pairs(pairs)
        if type(value) is list and value and chance.random() < 0.7:
            items = list(value)
            at = chance.randrange(len(items))
            if chance.random() < 0.2:
                return items * chance.choice([2, 50, 600])
            items[at] = self._spoil(items[at])
            return items
        return self._strange(value)

    def _strange(self, value: Any) -> Any:
        chance = self._chance
        match chance.randrange(9):
            case 0:
                return chance.choice(NUMBERS)
            case 1:
                return chance.choice(INTEGERS)
            case 2:
                return chance.choice(STRINGS)
            case 3:
                return chance.choice(OTHERS)
            case 4 | 5:
                return chance.choice(NAUGHTY_TEXTS)
            case 6:
                depth = chance.choice([2, 31, DEPTH_DEEP, 500])
                opened, closed = chance.choice([("[", "]"), ('{"a":', "}")])
                return Raw(opened * depth + "0" + closed * depth)
            case 7 if isinstance(value, str) and not isinstance(value, Raw):
                return self._bent(value)
            case _:
                known = chance.choice(list(self._known.values()))
                return chance.choice(known)

    def _bent(self, text: str) -> str:
        """Return a text that is nearly the given one."""
        chance = self._chance
        at = chance.randrange(len(text) + 1)
        bent = [
            text + "\n",
            " " + text,
            text.upper(),
            text[:at] + text[at + 1 :],
            text[:at] + chance.choice(["\0", "\u0430", "/", "..", "%00", "\u200d"]) + text[at:],
            text * chance.choice([2, 20, 200]),
            text[::-1],
        ]
        return chance.choice(bent)


def decode_all(text: bytes) -> Any:
    """Return what a text says, as any reader of JSON would, or None."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
