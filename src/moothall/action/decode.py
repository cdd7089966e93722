"""From bytes to a request, or to an error that names the field and the remedy."""

import re
from typing import TypeVar

import msgspec

from moothall.action.model import Request
from moothall.core.errors import InvalidArgumentError
from moothall.core.names import near_matches

Q = TypeVar("Q", bound=Request)

_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`\Z")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*?)`")
_MISSING = re.compile(r"Object missing required field `(?P<field>.*?)`")


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
        raise _explain(str(error), request_type) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = f"the body is not JSON text: {error}"
        raise InvalidArgumentError("body", reason, "send one JSON object in UTF-8") from None


def _explain(message: str, request_type: type[Request]) -> InvalidArgumentError:
    """Turn msgspec's message into field, reason and remedy."""
    path = ""
    if match := _AT.search(message):
        path, message = match["path"], message[: match.start()]
    prefix = f"{path}." if path else ""
    if match := _UNKNOWN.match(message):
        field = match["field"]
        known = request_type.__struct_fields__ if not path else ()
        near = near_matches(field, known)
        if near:
            remedy = f"did you mean {', '.join(near)}?"
        else:
            remedy = f"the fields are {', '.join(known)}" if known else "leave it out"
        return InvalidArgumentError(prefix + field, "there is no such field", remedy)
    if match := _MISSING.match(message):
        return InvalidArgumentError(prefix + match["field"], "the field is missing", "give it")
    return InvalidArgumentError(path or "body", message[0].lower() + message[1:])
