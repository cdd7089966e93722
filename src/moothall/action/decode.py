"""From bytes to a request, or to an error that names the field and the remedy.

A name that stands twice in one object counts with its last value, as RFC 8259,
section 4, says most readers do; there is one reader here, so nobody disagrees.
"""

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from moothall.action.model import Request
from moothall.core.errors import InvalidArgumentError
from moothall.core.names import near_matches

Q = TypeVar("Q", bound=Request)

TOLD_CHARACTERS_MAX = 64
"""How much of a strange name is repeated in the answer."""

_CHOICES_TOLD_MAX = 12

_AT = re.compile(r"(?P<what>.*) - at `(?P<in_key>key in )?\$\.?(?P<path>[^`]*)`\Z", re.DOTALL)
_STEP = re.compile(r"\[(?:\d+|\.\.\.)\]|[^.\[\]]+")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>.*)`\Z")
_TYPE = re.compile(r"Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`")
_LENGTH = re.compile(r"Expected `(?P<wanted>\w+)` of length (?P<sign>>=|<=)? ?(?P<bound>\d+)")
_RANGE = re.compile(r"Expected `(?:int|float)` (?P<sign>[<>]=?) (?P<bound>\S+)")
_PATTERN = re.compile(r"Expected `str` matching regex (?P<pattern>.*)\Z", re.DOTALL)

_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_BOUNDS = {">=": "at least", "<=": "at most", None: "exactly", ">": "more than", "<": "less than"}


def decode_request(
    decoder: msgspec.json.Decoder[Q], request_type: type[Q], body: bytes | bytearray | memoryview
) -> Q:
    """Decode ``body``.

    Raises:
        InvalidArgumentError: It is not JSON (field ``body``), or a field is wrong.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(*explain(str(error), request_type)) from None
    except RecursionError:
        reason = "the body is nested too deeply"
        raise InvalidArgumentError("body", reason, "send one JSON object in UTF-8") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = f"the body is not JSON text: {error}"
        raise InvalidArgumentError("body", reason, "send one JSON object in UTF-8") from None


def explain(message: str, root: Any) -> tuple[str, str, str]:
    """Turn msgspec's message about a value of type ``root`` into field, reason and remedy."""
    path, in_key = "", False
    if match := _AT.match(message):
        path, in_key, message = match["path"], bool(match["in_key"]), match["what"]
    types = list(_types_at(root, path))
    prefix = f"{path}." if path else ""
    if match := _UNKNOWN.match(message):
        field = match["field"][:TOLD_CHARACTERS_MAX]
        return prefix + field, "there is no such field", _remedy_for_unknown(field, types)
    if match := _MISSING.match(message):
        return prefix + match["field"], "the field is missing", "give it"
    reason, remedy = _reason_of(message)
    if message.startswith("Invalid enum value"):
        told = message.removeprefix("Invalid enum value ")[:TOLD_CHARACTERS_MAX]
        reason, remedy = f"{told} is none of the choices", _remedy_for_choice(told, types)
    told_remedy = "" if in_key else next(_descriptions(types), "")
    return path or "body", f"a name: {reason}" if in_key else reason, told_remedy or remedy


def _reason_of(message: str) -> tuple[str, str]:
    """Return reason and remedy in words for what msgspec says of one value."""
    if match := _PATTERN.match(message):
        return "the text has not the form it must have", f"match {match['pattern']}"
    if match := _LENGTH.match(message):
        things = "characters" if match["wanted"] == "str" else "items"
        bound = f"{_BOUNDS[match['sign']]} {int(match['bound']):,} {things}"
        return "this is too long or too short", f"give {bound}"
    if match := _RANGE.match(message):
        return "the number is out of range", f"give {_BOUNDS[match['sign']]} {match['bound']}"
    if match := _TYPE.match(message):
        wanted, got = (
            " or ".join(_KINDS.get(kind, kind) for kind in match[side].split(" | "))
            for side in ("wanted", "got")
        )
        return f"this is {got}, not {wanted}", f"give {wanted}"
    if message.lower().endswith("out of range"):
        return "the number is out of range", "give one that is nearer to zero"
    return message[0].lower() + message[1:], "see /openapi.json"


def _remedy_for_unknown(field: str, types: list[Any]) -> str:
    """Say what could have been meant."""
    known = [name for struct in _structs_in(types) for name in struct.__struct_encode_fields__]
    if near := near_matches(field, known):
        return f"did you mean {', '.join(near)}?"
    return f"the fields are {', '.join(known)}" if known else "leave it out; there are no fields"


def _remedy_for_choice(told: str, types: list[Any]) -> str:
    """Say what could have been chosen."""
    known = [str(choice) for choice in _choices(types)]
    if near := near_matches(told.strip("'"), known):
        return f"did you mean {', '.join(near)}?"
    return f"choose one of {', '.join(known[:_CHOICES_TOLD_MAX])}" if known else ""


def _types_at(root: Any, path: str) -> Iterator[Any]:
    """Yield the types that the value at ``path`` may have, as their fields declare them."""
    types = [root]
    for step in _STEP.findall(path):
        types = [inner for declared in types for inner in _inside(declared, step)]
    yield from types


def _inside(declared: Any, step: str) -> Iterator[Any]:
    """Yield the types of one field, or of the items, of a value of type ``declared``."""
    if _is_struct(declared):
        for field in msgspec.structs.fields(declared):
            if field.encode_name == step:
                yield field.type
        return
    is_transparent = hasattr(declared, "__metadata__") or type(None) in get_args(declared)
    arguments = [part for part in get_args(declared) if part not in {type(None), ...}]
    if is_transparent:
        for part in arguments[:1] if hasattr(declared, "__metadata__") else arguments:
            yield from _inside(part, step)
    elif step.startswith("["):
        if get_origin(declared) is dict:
            arguments = arguments[1:]
        elif get_origin(declared) is tuple and ... not in get_args(declared):
            arguments = arguments[int(step[1:-1]) :][:1]
        yield from arguments


def _descriptions(types: list[Any]) -> Iterator[str]:
    """Yield what the fields' ``Meta`` says to people."""
    for declared in types:
        for meta in getattr(declared, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.description:
                yield meta.description
        if type(None) in get_args(declared):
            yield from _descriptions(list(get_args(declared)))


def _structs_in(types: list[Any]) -> Iterator[Any]:
    """Yield the structs among ``types``."""
    for declared in types:
        if _is_struct(declared):
            yield declared
        elif get_args(declared):
            yield from _structs_in(list(get_args(declared)))


def _choices(types: list[Any]) -> Iterator[object]:
    """Yield the values of enumerations and literals among ``types``."""
    for declared in types:
        if isinstance(declared, type) and issubclass(declared, Enum):
            yield from (member.value for member in declared)
        elif get_origin(declared) is Literal:
            yield from get_args(declared)
        elif get_args(declared):
            yield from _choices(list(get_args(declared)))


def _is_struct(declared: Any) -> bool:
    """Tell whether ``declared`` is a struct class."""
    return isinstance(declared, type) and issubclass(declared, msgspec.Struct)
