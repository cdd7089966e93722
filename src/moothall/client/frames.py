"""JSON-RPC 2.0 as a client writes and reads it, at every door whose connections stay. Pure.

What comes is from another machine: it is taken apart with types, and what is unknown in it is
passed over, so that a newer hall may say more.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from moothall.client.exchange import HTTP_OK, Answer
from moothall.core.units import DEADLINE_MS_MAX

_NO_REPLY = "what came is no reply, no event and no word of a hall"


class BadFrameError(Exception):
    """What came is nothing that a hall says."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the call of this id; ``id`` is None where a frame could not be read."""

    id: int | None
    answer: Answer


@dataclass(frozen=True, slots=True)
class Notice:
    """What the hall says by itself."""

    method: str
    params: bytes


class _Error(msgspec.Struct, frozen=True):
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Frame(msgspec.Struct, frozen=True):
    id: int | str | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error | None = None


class _Status(msgspec.Struct, frozen=True):
    status: int = 0


class Closing(msgspec.Struct, frozen=True):
    """Why the hall closes a connection."""

    reason: str = ""
    message: str = ""


class FeedEnded(msgspec.Struct, frozen=True):
    """Why a feed gives nothing more."""

    feed: str
    reason: str = ""


class Pushed(msgspec.Struct, frozen=True):
    """An event as it stands on the wire."""

    feed: str
    cursor: str
    stream: str
    seq: int
    kind: str
    at: int
    data: Any = None


class Subscribed(msgspec.Struct, frozen=True):
    """Result of ``feeds.subscribe``."""

    cursor: str


_decode = msgspec.json.Decoder(_Frame).decode
_encode = msgspec.json.encode


def render_request(
    request_id: int, action: str, body: bytes, *, key: str | None, deadline_ms: int
) -> bytes:
    """Return a call as it stands on the wire; ``body`` is its request as JSON text."""
    meta: dict[str, str | int] = {"deadline_ms": max(1, min(deadline_ms, DEADLINE_MS_MAX))}
    if key is not None:
        meta["idempotency_key"] = key
    return b"".join(
        (
            b'{"jsonrpc":"2.0","id":%d,"method":' % request_id,
            _encode(action),
            b',"params":',
            body or b"{}",
            b',"meta":',
            _encode(meta),
            b"}",
        )
    )


def read_frame(message: bytes) -> Reply | Notice:
    """Return what a frame says.

    Raises:
        BadFrameError: It is nothing that a hall says.
    """
    try:
        frame = _decode(message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrameError(f"{_NO_REPLY}: {error}") from None
    if frame.method is not None:
        return Notice(frame.method, bytes(frame.params))
    request_id = frame.id if isinstance(frame.id, int) else None
    if frame.error is not None:
        problem = bytes(frame.error.data)
        return Reply(request_id, Answer(_status_of(problem), {}, problem))
    if request_id is None or not frame.result:
        raise BadFrameError(_NO_REPLY)
    return Reply(request_id, Answer(HTTP_OK, {}, bytes(frame.result)))


def read_params(notice: Notice, shape: type[msgspec.Struct]) -> Any:
    """Return what a notice says.

    Raises:
        BadFrameError: It is not understood.
    """
    try:
        return msgspec.json.decode(notice.params, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrameError(f"{notice.method} is not understood: {error}") from None


def size_bytes_max_of(answer: Answer) -> int | None:
    """Return the size that a refused frame should not have passed, if that was its fault."""
    try:
        refusal = msgspec.json.decode(answer.body, type=_Refusal)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return refusal.details.size_bytes_max


class _TooLarge(msgspec.Struct, frozen=True):
    size_bytes_max: int | None = None


class _Refusal(msgspec.Struct, frozen=True):
    details: _TooLarge = _TooLarge()


def _status_of(problem: bytes) -> int:
    """Return the status that a problem names; 0, which is no success, if it names none."""
    try:
        status = msgspec.json.decode(problem, type=_Status).status
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0
    return 0 if status == HTTP_OK else status
