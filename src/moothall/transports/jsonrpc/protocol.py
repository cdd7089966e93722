"""What a frame of JSON-RPC 2.0 means, whichever door it came through. Pure, no await.

Departures from https://www.jsonrpc.org/specification, each refused with -32600: batches, and
requests without ``id``. An action reports its failure in ``error.data``, which is the
problem object of every door; ``error.code`` only says which family it belongs to.

Whoever edits this file: every call passes :func:`read_request` and :func:`render_reply`, every
event :func:`render_event`; what is JSON text already is joined, never decoded.
"""

from typing import Annotated, Literal, NamedTuple, NoReturn

import msgspec

from moothall.action.call import KEY_LENGTH_MAX, Reply, is_idempotency_key
from moothall.action.decode import check_envelope, explain
from moothall.action.push import Push
from moothall.core.codes import Code
from moothall.core.errors import ActionError, InvalidArgumentError, Problem, UnknownActionError
from moothall.core.units import DEADLINE_MS_MAX, SAFE_INTEGER_MAX

PARSE_ERROR = -32_700
INVALID_REQUEST = -32_600
METHOD_NOT_FOUND = -32_601
INVALID_PARAMS = -32_602
SERVER_ERROR = -32_000

ID_SIZE_BYTES_MAX = 64

HEARTBEAT = b'{"jsonrpc":"2.0","method":"heartbeat","params":{}}'

Id = int | str

_SPACE = b" \t\r\n"

_encode = msgspec.json.encode


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What is said about a call beside its request."""

    idempotency_key: str | None = None
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=DEADLINE_MS_MAX)] | None = None


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A request as it stands on the wire."""

    jsonrpc: Annotated[Literal["2.0"], msgspec.Meta(description='send "2.0"')]
    method: str
    id: (
        Annotated[int, msgspec.Meta(ge=-SAFE_INTEGER_MAX, le=SAFE_INTEGER_MAX)]
        | Annotated[str, msgspec.Meta(max_length=ID_SIZE_BYTES_MAX)]
    )
    params: msgspec.Raw = msgspec.Raw(b"")
    meta: Meta | None = None


class _Named(msgspec.Struct, frozen=True, gc=False):
    """What of a refused request tells its sender which one it was."""

    id: int | str | None = None


class Asked(NamedTuple):
    """One request."""

    id: Id
    method: str
    params: bytes
    """JSON text; empty where the request had none."""
    idempotency_key: str | None
    deadline_ms: int | None


class FrameError(Exception):
    """A frame is no request.

    Attributes:
        id: Of the request as far as it could be read, else None.
        code: -32700 or -32600.
        error: What stands in ``error.data``.
    """

    def __init__(self, request_id: Id | None, code: int, error: ActionError) -> None:
        super().__init__(str(error))
        self.id = request_id
        self.code = code
        self.error = error


_decode = msgspec.json.Decoder(Envelope).decode
_NO_META = Meta()
_decode_named = msgspec.json.Decoder(_Named).decode


def read_request(message: bytes | bytearray | memoryview) -> Asked:
    """Return what a frame asks for; nothing of ``message`` is kept.

    Raises:
        FrameError: It is no request; ``error`` names the field and the remedy.
    """
    try:
        # What is not looked into, such as the params of an unknown action, is UTF-8 too.
        str(message, "utf-8")
        envelope = _decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse(message, error)
    asked_id = envelope.id
    if isinstance(asked_id, str) and len(asked_id.encode()) > ID_SIZE_BYTES_MAX:
        reason = f"the id is longer than {ID_SIZE_BYTES_MAX} bytes"
        told = InvalidArgumentError("id", reason, "send an integer or a shorter text")
        raise FrameError(None, INVALID_REQUEST, told)
    meta = envelope.meta or _NO_META
    key = meta.idempotency_key
    try:
        # In params the pipeline looks, as at every door.
        check_envelope(message, "params")
        if key is not None:
            _check_key(key)
    except InvalidArgumentError as error:
        raise FrameError(asked_id, INVALID_REQUEST, error) from None
    return Asked(asked_id, envelope.method, bytes(envelope.params), key, meta.deadline_ms)


def _check_key(key: str) -> None:
    """Refuse an idempotency key that HTTP could not carry.

    Raises:
        InvalidArgumentError: It is.
    """
    if not is_idempotency_key(key):
        reason = f"a key is 1 to {KEY_LENGTH_MAX} visible ASCII characters"
        raise InvalidArgumentError("meta.idempotency_key", reason, "send a UUID")


def _refuse(message: bytes | bytearray | memoryview, error: Exception) -> NoReturn:
    """Raise the refusal of a frame that could not be read."""
    if isinstance(error, msgspec.ValidationError):
        if bytes(message[:64]).lstrip(_SPACE).startswith(b"["):
            reason, remedy = "batches are not taken", "send each request in a frame of its own"
            raise FrameError(None, INVALID_REQUEST, InvalidArgumentError("frame", reason, remedy))
        field, reason, remedy = explain(str(error), Envelope)
        if field == "id" and reason == "the field is missing":
            reason = "a request without id would have no answer, so none is taken"
            remedy = "give an id: an integer, or a text"
        told = InvalidArgumentError("frame" if field == "body" else field, reason, remedy)
        raise FrameError(_find_id(message), INVALID_REQUEST, told) from None
    reason = "the frame is not JSON text"
    if isinstance(error, RecursionError):
        reason = "the frame is nested too deeply"
    elif isinstance(error, msgspec.DecodeError):
        reason = f"{reason}: {error}"
    told = InvalidArgumentError("frame", reason, "send one JSON object in UTF-8")
    raise FrameError(None, PARSE_ERROR, told) from None


def _find_id(message: bytes | bytearray | memoryview) -> Id | None:
    """Return the id of a refused request, or None where it has no usable one."""
    try:
        found = _decode_named(message).id
    except (msgspec.MsgspecError, RecursionError):
        return None
    if isinstance(found, str):
        return found if len(found.encode()) <= ID_SIZE_BYTES_MAX else None
    if found is None or not -SAFE_INTEGER_MAX <= found <= SAFE_INTEGER_MAX:
        return None
    return found


def frame_too_large(size_bytes_max: int) -> FrameError:
    """Return the refusal of a frame beyond its bound."""
    told = InvalidArgumentError(
        "frame",
        f"the frame is larger than {size_bytes_max} bytes",
        "send less at a time",
        size_bytes_max=size_bytes_max,
    )
    return FrameError(None, INVALID_REQUEST, told)


def render_reply(request_id: Id, reply: Reply) -> bytes:
    """Return the answer to a request: the result as it is, or the problem."""
    if reply.body is None:
        assert reply.problem is not None
        return _render_error(request_id, _code_of(reply.problem), reply.problem)
    return b"".join(
        (b'{"jsonrpc":"2.0","id":', _encode(request_id), b',"result":', reply.body, b"}")
    )


def render_refusal(error: FrameError, problem_id: str) -> bytes:
    """Return the answer to a frame that is no request; ``problem_id`` names it in the log."""
    return _render_error(error.id, error.code, error.error.problem(problem_id))


def render_event(push: Push, feed: str, cursor: str) -> bytes:
    """Return an event of ``feed``; ``cursor`` is the text by which a client resumes after it."""
    return b"".join(
        (
            b'{"jsonrpc":"2.0","method":"event","params":{"feed":',
            _encode(feed),
            b',"cursor":',
            _encode(cursor),
            b',"stream":',
            _encode(push.stream),
            b',"seq":%d,"kind":' % push.seq,
            _encode(push.kind),
            b',"at":%d,"data":' % push.at_ms,
            push.data.encode(),
            b"}}",
        )
    )


def render_feed_ended(feed: str, reason: str) -> bytes:
    """Return the word that ``feed`` gives nothing more."""
    return _render_notice("feed_ended", {"feed": feed, "reason": reason})


def render_closing(reason: str, message: str) -> bytes:
    """Return the word that the connection is about to close."""
    return _render_notice("closing", {"reason": reason, "message": message})


def _render_notice(method: str, params: dict[str, str]) -> bytes:
    return _encode({"jsonrpc": "2.0", "method": method, "params": params})


def _render_error(request_id: Id | None, code: int, problem: Problem) -> bytes:
    told = {"code": code, "message": problem.title, "data": problem}
    return _encode({"jsonrpc": "2.0", "id": request_id, "error": told})


def _code_of(problem: Problem) -> int:
    """Return the family of a failed call (the specification, section 5.1)."""
    if problem.name == UnknownActionError.name:
        return METHOD_NOT_FOUND
    return INVALID_PARAMS if problem.code == Code.INVALID_ARGUMENT else SERVER_ERROR
