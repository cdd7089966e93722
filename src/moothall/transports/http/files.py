"""``PUT`` and ``GET /v1/files/<sha256>``: many calls behind one request.

Each 256 KiB is ``files.put_chunk`` or ``files.get_chunk``, so who may do what, how often, and what
is written down is decided where it is for every other door, and no file is ever whole in memory.
A request that is cut off leaves an upload that the other doors' calls can go on with.
"""

import asyncio
import logging
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from moothall.action.call import Call, Reply
from moothall.core.codes import Code
from moothall.core.errors import ActionError, DeadlineExceededError, Problem
from moothall.core.units import CHUNK_SIZE_BYTES
from moothall.transports.backend import GET_CHUNK, GET_FILE, GET_UPLOAD, PUT_CHUNK, Backend
from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.protocol import (
    Answer,
    FileRequest,
    Headers,
    answer_problem,
    answer_reply,
    check_body_size,
)

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*\Z", re.IGNORECASE)
_STATUS_CREATED = 201
_STATUS_PARTIAL = 206
_STATUS_NOT_MODIFIED = 304
_STATUS_RANGE_NOT_SATISFIABLE = 416
_RATE_LIMITED = "rate_limited"

_log = logging.getLogger(__name__)
_encode = msgspec.json.encode


class RangeNotSatisfiableError(ActionError):
    """The file has no byte in this range."""

    code = Code.INVALID_ARGUMENT


class DisconnectedError(Exception):
    """The client went away: nobody waits for an answer."""


class _File(msgspec.Struct):
    """What is needed of the result of ``files.get_file``."""

    size_bytes: int


class _Upload(msgspec.Struct):
    """What is needed of the result of ``files.get_upload``."""

    is_finished: bool


class _Chunk(msgspec.Struct):
    """What is needed of the result of ``files.get_chunk``."""

    data: str


class FileTransfers:
    """Answers requests for files."""

    def __init__(
        self,
        backend: Backend,
        size_bytes_max: int,
        bounds: HttpBounds,
    ) -> None:
        """Take calls to the house, for files of at most ``size_bytes_max``."""
        self._answer = backend.answer
        self._bounds = bounds
        self._make_request_id = backend.make_request_id
        self.size_bytes_max = size_bytes_max

    async def take(
        self, request: FileRequest, source: str, receive: Receive
    ) -> tuple[Answer, bool]:
        """Read a file from the body of a PUT, and return the answer.

        Who may not upload is told so before a byte is read.

        Args:
            request: Which file, by whose token.
            source: Address of the client.
            receive: Gives the body in pieces.

        Returns:
            201 for a file that the member had not uploaded yet, 200 otherwise, or the problem;
            and whether the body was read to its end.

        Raises:
            InvalidArgumentError: The body is larger than a file may be.
            DeadlineExceededError: It comes too slowly.
            DisconnectedError: The client has gone.
        """
        size_bytes = request.body_size_bytes
        reply = await self._call(GET_UPLOAD, {}, request, source)
        if reply.body is None:
            return _refusal(reply, request), size_bytes == 0
        is_new = not msgspec.json.decode(reply.body, type=_Upload).is_finished
        body = _Body(receive, self._bounds, self.size_bytes_max)
        offset = 0
        while True:
            data, is_last = await body.read()
            size = size_bytes if size_bytes is not None or not is_last else offset + len(data)
            fields = {"offset": offset, "data": data, "size_bytes": size}
            reply = await self._call(PUT_CHUNK, fields, request, source)
            if reply.problem is not None:
                return _refusal(reply, request), is_last
            offset += len(data)
            if is_last:
                answer = answer_reply(reply, had_token=True)
                return answer._replace(status=_STATUS_CREATED if is_new else answer.status), True

    async def give(
        self, request: FileRequest, source: str, more: Headers, receive: Receive, send: Send
    ) -> Answer | None:
        """Send a file, or what is asked for of it; or return the answer that has no bytes.

        Args:
            request: Which file, by whose token, which part.
            source: Address of the client.
            more: Headers to send besides.
            receive: Ends with a disconnect.
            send: Takes the answer in pieces, and the next one when the client reads.
        """
        reply = await self._call(GET_FILE, {}, request, source)
        if reply.body is None:
            return _refusal(reply, request)
        size = msgspec.json.decode(reply.body, type=_File).size_bytes
        tag = f'"{request.sha256}"'
        headers = _headers(tag, reply.request_id)
        if _names(request.if_none_match, tag):
            return Answer(_STATUS_NOT_MODIFIED, headers, b"")
        span = None
        if request.range and request.if_range in {"", tag}:
            try:
                span = read_range(request.range, size)
            except RangeNotSatisfiableError as error:
                return self._not_satisfiable(error, size)
        start, end = span or (0, size)
        if span is not None:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
        headers.append((b"content-length", b"%d" % (end - start)))
        status = 200 if span is None else _STATUS_PARTIAL
        if request.method == "HEAD":
            return Answer(status, headers, b"")
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
        await self._send_bytes(request, source, (start, end), receive, send)
        return None

    async def _send_bytes(
        self,
        request: FileRequest,
        source: str,
        span: tuple[int, int],
        receive: Receive,
        send: Send,
    ) -> None:
        """Send bytes chunk by chunk; what cannot be sent any more breaks the connection off."""
        offset, end = span
        watch = asyncio.get_running_loop().create_task(_wait_until_gone(receive))
        try:
            while not watch.done():
                data = b""
                if offset < end:
                    reply = await self._call(GET_CHUNK, {"offset": offset}, request, source)
                    if reply.body is None:
                        assert reply.problem is not None
                        # Told in the log: the head of the answer has left.
                        _log.warning("a file broke off: %s", reply.problem.name)
                        return
                    text = msgspec.json.decode(reply.body, type=_Chunk).data
                    data = b64decode(text)[: end - offset]
                offset += len(data)
                is_last = offset >= end or not data
                await send({"type": "http.response.body", "body": data, "more_body": not is_last})
                if is_last:
                    return
        except asyncio.CancelledError:
            # The door stops. A second answer cannot begin; the client sees that bytes are missing.
            return
        finally:
            watch.cancel()

    async def _call(
        self, action: str, fields: Mapping[str, Any], request: FileRequest, source: str
    ) -> Reply:
        """Make one call; where the limit of calls is met, the client waits, not the file."""
        body = _encode({"sha256": request.sha256, **fields})
        call = Call(action, body, source, token=request.token)
        waited_s = 0.0
        while True:
            reply = await self._answer(call)
            wait_s = _wait_of(reply.problem)
            waited_s += wait_s or 0.0
            if wait_s is None or waited_s > self._bounds.body_timeout_ms / 1_000:
                return reply
            await asyncio.sleep(wait_s)

    def _not_satisfiable(self, error: RangeNotSatisfiableError, size: int) -> Answer:
        """Return the refusal of a range (RFC 9110, section 15.5.17)."""
        problem = replace(
            error.problem(self._make_request_id()), status=_STATUS_RANGE_NOT_SATISFIABLE
        )
        answer = answer_problem(problem, had_token=True)
        answer.headers.append((b"content-range", b"bytes */%d" % size))
        return answer


class _Body:
    """The body of a PUT, in chunks; a client that drips is cut."""

    def __init__(self, receive: Receive, bounds: HttpBounds, size_bytes_max: int) -> None:
        self._receive = receive
        self._bounds = bounds
        self._size_bytes_max = size_bytes_max
        self._waiting = bytearray()
        self._size_bytes = 0
        self._has_more = True

    async def read(self) -> tuple[bytes, bool]:
        """Return the next chunk, and whether it is the last one.

        It is told apart from the others by the next byte, or the end, so that one is waited for.
        """
        while self._has_more and len(self._waiting) <= CHUNK_SIZE_BYTES:
            await self._fill()
        data = bytes(self._waiting[:CHUNK_SIZE_BYTES])
        del self._waiting[:CHUNK_SIZE_BYTES]
        return data, not self._has_more and not self._waiting

    async def _fill(self) -> None:
        """Wait for as many bytes as must come in the time for them, for a chunk, or for the end."""
        bounds = self._bounds
        # No more than makes the chunk whole: what came before a break is kept, not waited upon.
        wanted = min(len(self._waiting) + bounds.file_pace_bytes_min, CHUNK_SIZE_BYTES + 1)
        try:
            async with asyncio.timeout(bounds.body_timeout_ms / 1_000):
                while self._has_more and len(self._waiting) < wanted:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        raise DisconnectedError
                    piece: bytes = message["body"]
                    self._waiting += piece
                    self._size_bytes += len(piece)
                    check_body_size(self._size_bytes, self._size_bytes_max)
                    self._has_more = message["more_body"]
        except TimeoutError:
            raise DeadlineExceededError(
                f"less than {bounds.file_pace_bytes_min} bytes came in {bounds.body_timeout_ms} ms",
                remedy="go on at the offset of files.get_upload, by files.put_chunk",
            ) from None


def read_range(text: str, size_bytes: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last of ``Range`` (RFC 9110, section 14.2).

    None where the whole is to be given: for several ranges, other units, and what is no range.

    Raises:
        RangeNotSatisfiableError: There is no such byte.
    """
    match = _RANGE.match(text)
    if match is None or not (match[1] or match[2]):
        return None
    first, last = match[1], match[2]
    if not first:
        start, end = max(size_bytes - int(last), 0), size_bytes
    else:
        start, end = int(first), size_bytes
        if last:
            if int(last) < start:
                return None
            end = min(int(last) + 1, size_bytes)
    if start >= end:
        raise RangeNotSatisfiableError(f"the file has {size_bytes} bytes", size_bytes=size_bytes)
    return start, end


async def _wait_until_gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _wait_of(problem: Problem | None) -> float | None:
    """Return how many seconds a call must wait for its turn, or None where that is not it."""
    if problem is None or problem.name != _RATE_LIMITED:
        return None
    wait_ms = problem.details.get("retry_after_ms")
    return wait_ms / 1_000 if isinstance(wait_ms, int) else None


def _names(if_none_match: str, tag: str) -> bool:
    """Tell whether the client has this file (RFC 9110, section 13.1.2)."""
    tags = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in tags or tags == ["*"]


def _refusal(reply: Reply, request: FileRequest) -> Answer:
    assert reply.problem is not None
    return answer_problem(reply.problem, had_token=request.token is not None)


def _headers(tag: str, request_id: str) -> Headers:
    """Return the headers of a file: bytes of a stranger, which no browser must ever run."""
    return [
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", b"attachment"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
        # It never changes, but who may read it does: each time is asked for.
        (b"cache-control", b"private, no-cache"),
        (b"accept-ranges", b"bytes"),
        (b"etag", tag.encode("ascii")),
        (b"request-id", request_id.encode("ascii")),
    ]
