"""From bytes to a request, or to an error that names the field and the remedy.

Two readers of one text must not understand it differently: a proxy, a log, or a room that hands
an object on may be the second one. So at every door and at every depth a name that stands twice
in one object is refused (RFC 8259, section 4, leaves open which one counts), and so is what is
no UTF-8, or nested deeper than `DEPTH_MAX`. msgspec takes the last of two values, looks into
strings only where a type asks for them, and nests as deep as the stack allows. The character NUL
is refused too: PostgreSQL keeps no text with it, and much that is written in C ends a text there.

Whoever edits this file: what is too long for its field, or no field at all, is refused by msgspec
at once, and :func:`check_text` sees only what has passed. So a hostile text costs little.
"""

import json
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import accumulate
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from moothall.action.model import Request
from moothall.core.errors import InvalidArgumentError
from moothall.core.names import near_matches

Q = TypeVar("Q", bound=Request)

TOLD_CHARACTERS_MAX = 64
"""How much of a strange name is repeated in the answer."""

DEPTH_MAX = 32
"""How many objects and lists may lie in each other, the outermost included."""

_CHOICES_TOLD_MAX = 12

_OBJECTS_FEW = 8
"""With more objects than these, two of them have a name in common; comparing all is in vain."""

_MESSAGE_SIZE_SMALL = 4_096
"""Up to these bytes it is quicker to compare all strings than to take the message apart."""

_BACKSLASH = ord("\\")
_NUL = "\0"
_NUL_ESCAPE = b"\\u0000"
"""The only way to write it in JSON (RFC 8259, section 7)."""

_NAME_WITH_ESCAPE = re.compile(rb'\\[^"\\]*"[ \t\n\r]*:')
_OTHERS = bytes(set(range(256)) - set(b'"[]{}'))
_AS_STEPS = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")
"""Makes a bracket a signed byte: 1 goes inwards, -1 outwards."""

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
        InvalidArgumentError: It is not JSON or nested too deeply (field ``body``), or a field
            is wrong or given twice.
    """
    try:
        request = decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidArgumentError(*explain(str(error), request_type)) from None
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _no_json(error) from None
    check_text(body)
    return request


def check_text(text: bytes | bytearray | memoryview) -> None:
    """Refuse what `decode_request` refuses whatever the request, in JSON that msgspec has read.

    Raises:
        InvalidArgumentError: ``text`` is not UTF-8 or deeper than `DEPTH_MAX` (field ``body``),
            or a name stands twice in one object, or a text holds NUL (the field is the path to it).
    """
    raw = text if isinstance(text, bytes) else bytes(text)
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            raise _no_json(error) from None
    plain = _plain(raw) if _BACKSLASH in raw else raw
    objects = 0
    if len(raw) > 2 * DEPTH_MAX:
        objects = raw.count(b"{")
        if objects + raw.count(b"[") > DEPTH_MAX and _is_too_deep(plain):
            raise _too_deep()
    if objects > _OBJECTS_FEW or not _has_distinct_names(plain):
        _check_members(raw)
    if _NUL_ESCAPE in plain:
        raise _holds_nul(_find_nul(json.loads(raw, parse_int=len, parse_float=len)) or "body")


def check_envelope(message: bytes | bytearray | memoryview, request: str) -> None:
    """Refuse a message that says something twice outside of its member ``request``.

    That one is left to `decode_request`, so that a request gets the same answer in an envelope
    as without one. ``message`` is an object that msgspec has read.

    Raises:
        InvalidArgumentError: A name stands twice in one object; the field is the path to it.
    """
    raw = bytes(message)
    if len(raw) <= _MESSAGE_SIZE_SMALL and _has_distinct_names(_plain(raw)):
        return
    seen = set()
    for key, value in _decode_members(raw).items():
        if key.name in seen:
            raise _twice(_told(key.name))
        seen.add(key.name)
        if key.name != request and bytes(value)[:1] in b"[{":
            _check_members(bytes(value), key.name)


def _plain(raw: bytes) -> bytes:
    """Return JSON in which each quote begins or ends a string; an escape keeps its backslash."""
    return raw.replace(b"\\\\", b"\\.").replace(b'\\"', b"\\.")


def _has_distinct_names(plain: bytes) -> bool:
    """Tell whether surely no name stands twice; whether one does takes longer to say.

    In JSON every second piece between quotes is a string, so where all these differ, the names
    among them do. Names with escapes can be equal though their bytes differ.
    """
    strings = plain.split(b'"')[1::2]
    if len(set(strings)) != len(strings):
        return False
    return _BACKSLASH not in plain or _NAME_WITH_ESCAPE.search(plain) is None


def _is_too_deep(plain: bytes) -> bool:
    """Tell whether objects and lists lie deeper in each other than `DEPTH_MAX`."""
    # Two neighbouring quotes: a string that holds no bracket.
    outline = plain.translate(None, _OTHERS).replace(b'""', b"")
    if b'"' in outline:
        outline = b"".join(outline.split(b'"')[::2])
    steps = memoryview(outline.translate(_AS_STEPS)).cast("b")
    return max(accumulate(steps), default=0) > DEPTH_MAX


class _Key:
    """A name in an object; unlike the text itself, a second one is another key."""

    __slots__ = ("name",)

    def __init__(self, _type: type, name: str) -> None:
        self.name = name


_decode_members = msgspec.json.Decoder(dict[_Key, msgspec.Raw], dec_hook=_Key).decode


class _Members(list[tuple[str, Any]]):
    """The members of an object, in order, as they stand there."""


def _check_members(raw: bytes, path: str = "") -> None:
    """Refuse a text, which stands at ``path``, if an object in it has two members of one name."""
    text = raw.decode(errors="replace")  # a message's bytes are its decoder's affair
    try:
        # The numbers do not matter, and a huge one would take long.
        json.loads(text, object_pairs_hook=_refuse_twins, parse_int=len, parse_float=len)
    except _TwinsError:
        tree = json.loads(text, object_pairs_hook=_Members, parse_int=len, parse_float=len)
        raise _twice(_join(path, _find_twin(tree))) from None
    except ValueError as error:
        raise _no_json(error) from None


class _TwinsError(Exception):
    """An object has two members of one name."""


def _refuse_twins(members: list[tuple[str, Any]]) -> None:
    """Check the members of one object, and forget them."""
    if len(dict(members)) != len(members):
        raise _TwinsError


def _find_twin(value: Any) -> str:
    """Return the path to the first name that stands twice, or nothing."""
    if isinstance(value, _Members):
        seen = set()
        for name, inner in value:
            if name in seen:
                return _told(name)
            seen.add(name)
            if isinstance(inner, list) and (path := _find_twin(inner)):
                return _join(_told(name), path)
    else:
        for index, inner in enumerate(value):
            if isinstance(inner, list) and (path := _find_twin(inner)):
                return _join(f"[{index}]", path)
    return ""


def _find_nul(value: Any, path: str = "") -> str | None:
    """Return the path to the first text with NUL, or to the object that has it in a name."""
    if isinstance(value, str):
        return path if _NUL in value else None
    members: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        if any(_NUL in name for name in value):
            return path
        members = ((_told(name), inner) for name, inner in value.items())
    elif isinstance(value, list):
        members = ((f"[{index}]", inner) for index, inner in enumerate(value))
    found = (_find_nul(inner, _join(path, step)) for step, inner in members)
    return next((at for at in found if at is not None), None)


def _holds_nul(path: str) -> InvalidArgumentError:
    return InvalidArgumentError(path, "the text holds the character NUL", "leave it out")


def _twice(path: str) -> InvalidArgumentError:
    reason = "the name stands twice in one object"
    return InvalidArgumentError(path, reason, "give it once")


def _join(path: str, inner: str) -> str:
    return f"{path}{inner}" if not path or inner.startswith("[") else f"{path}.{inner}"


def _told(name: str) -> str:
    """Return what of a name an answer repeats; half a surrogate pair it cannot hold."""
    return name[:TOLD_CHARACTERS_MAX].encode("utf-8", "replace").decode() or '""'


def _too_deep() -> InvalidArgumentError:
    return InvalidArgumentError(
        "body",
        "the body is nested too deeply",
        f"nest at most {DEPTH_MAX} objects and lists in each other",
        depth_max=DEPTH_MAX,
    )


def _no_json(error: Exception) -> InvalidArgumentError:
    reason = f"the body is not JSON text: {error}"
    return InvalidArgumentError("body", reason, "send one JSON object in UTF-8")


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
