"""One raw ASGI function for all requests: a framework's routing would cost half the rate.

It reads the body under its bounds, hands calls to the pipeline, and serves a few documents.
It has no state but its arguments.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moothall.action.call import Call
from moothall.core.errors import (
    ActionError,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
)
from moothall.transports.backend import Backend
from moothall.transports.http.bounds import HttpBounds
from moothall.transports.http.feeds import FeedStreams
from moothall.transports.http.files import DisconnectedError, FileTransfers
from moothall.transports.http.origins import (
    Origins,
    check_origin,
    preflight_headers,
    reading_headers,
)
from moothall.transports.http.protocol import (
    CALL_PREFIX,
    PATHS,
    Answer,
    CallRequest,
    DocumentRequest,
    FeedRequest,
    FileRequest,
    Headers,
    MethodNotAllowedError,
    PathNotFoundError,
    PreflightRequest,
    answer_error,
    answer_reply,
    check_body_size,
    find_header,
    read_head,
    read_upgrade_head,
)
from moothall.transports.proxies import Networks, find_source

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)

_DOCUMENTS = frozenset(
    {b"/healthz", b"/openapi.json", b"/.well-known/jwks.json", b"/.well-known/moothall"}
)
_READING = ["GET", "HEAD"]
_CLOSE = (b"connection", b"close")
_HEALTHY = b'{"status":"ok"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """What anybody may read without a call, as JSON.

    Attributes:
        openapi: Makes the API document; called once, when it is first asked for.
        jwks: Makes the set of public signing keys (RFC 7517); called for each request.
        describe: Makes what the hall says of itself before anybody signs in (RFC 8615); called
            for each request.
    """

    openapi: Callable[[], bytes]
    jwks: Callable[[], bytes]
    describe: Callable[[], bytes]


class HttpApplication:
    """The ASGI application of the door."""

    def __init__(
        self,
        backend: Backend,
        documents: Documents,
        *,
        bounds: HttpBounds,
        origins: Origins = frozenset(),
        trusted_proxies: Networks = (),
        file_size_bytes_max: int = 0,
    ) -> None:
        """See :class:`~moothall.transports.http.server.HttpServer`."""
        self._answer = backend.answer
        self._documents = documents
        self._openapi_answers: tuple[Answer, bytes] | None = None
        self._make_request_id = backend.make_request_id
        self._body_size_bytes_max = bounds.body_size_bytes_max
        self._body_timeout_s = bounds.body_timeout_ms / 1_000
        self._body_timeout_ms = bounds.body_timeout_ms
        self._origins = origins
        self._trusted_proxies = trusted_proxies
        self._feeds = FeedStreams(backend)
        self._files = FileTransfers(backend, file_size_bytes_max, bounds)
        self._file_size_bytes_max = file_size_bytes_max

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        body_left = True
        try:
            head = read_head(scope, self._body_size_bytes_max, self._file_size_bytes_max)
            body_left = head.body_size_bytes != 0
            if isinstance(head, CallRequest):
                call = await self._read_call(scope, head, receive)
                body_left = False
                reply = await self._answer(call)
                answer = answer_reply(reply, had_token=head.token is not None)
            else:
                other, body_left = await self._serve_other(scope, head, receive, send)
                if other is None:
                    return
                answer = other
        except ActionError as error:
            answer = self.refuse(error)
        except DisconnectedError:
            return
        except asyncio.CancelledError:
            # Only a door that stops cancels; the task ends with this answer.
            reason = "the hall stopped before the call ended; its outcome is unknown"
            answer = self.refuse(DeadlineExceededError(reason))
        except Exception:  # noqa: BLE001 - a bug here is answered and logged as any other
            answer = self.refuse(InternalError())
            _log.exception("a request failed outside the pipeline", extra=_named(answer))
        if self._origins:
            # A document is kept for the next request, so its headers are not to be changed.
            more = reading_headers(find_header(scope, b"origin"), self._origins)
            answer = answer._replace(headers=[*answer.headers, *more])
        if body_left:
            # What is left of the request cannot be told from the next one.
            answer.headers.append(_CLOSE)
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _serve_other(
        self,
        scope: Mapping[str, Any],
        head: FeedRequest | FileRequest | DocumentRequest | PreflightRequest,
        receive: Receive,
        send: Send,
    ) -> tuple[Answer | None, bool]:
        """Serve what is no call; return the answer unless it was sent, and if a body is left."""
        if isinstance(head, FileRequest):
            return await self._transfer(scope, head, receive, send)
        if isinstance(head, FeedRequest):
            return await self._follow(scope, head, receive, send), False
        if isinstance(head, PreflightRequest):
            return self._preflight(scope, head), False
        return self._document(scope, head), False

    async def _follow(
        self, scope: Mapping[str, Any], request: FeedRequest, receive: Receive, send: Send
    ) -> Answer | None:
        """Stream a feed, or return the answer that refuses it."""
        if request.origin is not None:
            self._check_origin(scope, request.origin)
        if request.body_size_bytes != 0:
            raise InvalidArgumentError("body", "a request for a feed has no body")
        more = reading_headers(request.origin or "", self._origins) if self._origins else []
        return await self._feeds.serve(request, self._source_of(scope), more, receive, send)

    async def _transfer(
        self, scope: Mapping[str, Any], request: FileRequest, receive: Receive, send: Send
    ) -> tuple[Answer | None, bool]:
        """Take or give a file; see :meth:`_serve_other`."""
        if not self._file_size_bytes_max:
            raise PathNotFoundError("there are no files here", paths=PATHS)
        if request.origin is not None:
            self._check_origin(scope, request.origin)
        source = self._source_of(scope)
        if request.method == "PUT":
            answer, is_read = await self._files.take(request, source, receive)
            return answer, not is_read
        if request.body_size_bytes != 0:
            raise InvalidArgumentError("body", "a request for a file has no body")
        more = reading_headers(request.origin or "", self._origins) if self._origins else []
        return await self._files.give(request, source, more, receive, send), False

    def refuse(self, error: ActionError) -> Answer:
        """Return the answer to a request that the door itself refuses."""
        return answer_error(error, self._make_request_id())

    def read_upgrade(self, scope: Mapping[str, Any]) -> tuple[str | None, str]:
        """Return the token, if any, and the source of a request for another protocol.

        Raises:
            ActionError: Its head cannot be used, or its page may not be here.
        """
        head = read_upgrade_head(scope)
        if head.origin is not None:
            self._check_origin(scope, head.origin)
        return head.token, self._source_of(scope)

    async def _read_call(
        self, scope: Mapping[str, Any], head: CallRequest, receive: Receive
    ) -> Call:
        """Return a call once its body is whole and nothing speaks against who sends it."""
        if head.origin is not None:
            self._check_origin(scope, head.origin)
        source = self._source_of(scope)
        message = await receive()
        if message["type"] == "http.request" and not message["more_body"]:
            body: bytes = message["body"]
        else:
            body = await self._read_rest(message, receive)
        # What came in chunks was not measured yet.
        check_body_size(len(body), self._body_size_bytes_max)
        return Call(
            head.action,
            body,
            source,
            head.token,
            head.idempotency_key,
            head.deadline_ms,
            is_charged=scope["state"].is_charged,
        )

    def _check_origin(self, scope: Mapping[str, Any], origin: str) -> None:
        host, is_tls = find_header(scope, b"host"), scope["scheme"] == "https"
        check_origin(origin, host, is_tls=is_tls, origins=self._origins)

    def _source_of(self, scope: Mapping[str, Any]) -> str:
        """Return the client's address: the peer's, or whose a trusted proxy says."""
        peer: str = scope["client"][0]
        if not scope["state"].is_proxy:
            return peer
        values = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        return find_source(peer, values, self._trusted_proxies)

    async def _read_rest(self, message: Message, receive: Receive) -> bytes:
        """Return the whole body, of which ``message`` is the first piece."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                while True:
                    if message["type"] != "http.request":
                        raise DisconnectedError
                    body += message["body"]
                    check_body_size(len(body), self._body_size_bytes_max)
                    if not message["more_body"]:
                        return bytes(body)
                    message = await receive()
        except TimeoutError:
            reason = f"the body did not arrive within {self._body_timeout_ms} ms; nothing was done"
            raise DeadlineExceededError(reason) from None

    def _preflight(self, scope: Mapping[str, Any], head: PreflightRequest) -> Answer:
        """Tell a browser what the pages of an origin may send.

        Raises:
            PathNotFoundError: There is nothing at this path.
            InvalidArgumentError: The request has a body.
            PermissionDeniedError: Nothing; the origin is not listed.
        """
        path = scope["raw_path"]
        if path not in _DOCUMENTS and not path.startswith(CALL_PREFIX):
            raise PathNotFoundError("there is nothing at this path", paths=PATHS)
        if head.body_size_bytes != 0:
            raise InvalidArgumentError("body", "a preflight has no body")
        self._check_origin(scope, head.origin)
        return Answer(204, preflight_headers(), b"")

    def _document(self, scope: Mapping[str, Any], head: DocumentRequest) -> Answer:
        """Return one of the documents.

        Raises:
            PathNotFoundError: There is none at this path.
            MethodNotAllowedError: Documents are only read.
            InvalidArgumentError: The request has a body.
        """
        path = scope["raw_path"]
        if path not in _DOCUMENTS:
            raise PathNotFoundError("there is nothing at this path", paths=PATHS)
        if scope["method"] not in _READING:
            raise MethodNotAllowedError("documents are only read", allow=_READING)
        if head.body_size_bytes != 0:
            raise InvalidArgumentError("body", "a request for a document has no body")
        if path == b"/healthz":
            return _json_answer(_HEALTHY, b"no-store")
        if path == b"/.well-known/jwks.json":
            return _json_answer(self._documents.jwks(), b"max-age=60")
        if path == b"/.well-known/moothall":
            return _json_answer(self._documents.describe(), b"max-age=60")
        whole, tag = self._openapi_answers or self._prepare_openapi()
        if any(
            name == b"if-none-match" and (tag in value or value == b"*")
            for name, value in scope["headers"]
        ):
            return Answer(304, [(b"etag", tag), (b"cache-control", b"no-cache")], b"")
        return whole

    def _prepare_openapi(self) -> tuple[Answer, bytes]:
        """Build the API document when it is first asked for: start-up need not wait for it."""
        body = self._documents.openapi()
        tag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode("ascii")
        whole = _json_answer(body, b"no-cache")
        whole.headers.append((b"etag", tag))
        self._openapi_answers = (whole, tag)
        return self._openapi_answers


def _json_answer(body: bytes, cache: bytes) -> Answer:
    headers: Headers = [
        (b"content-type", b"application/json"),
        (b"cache-control", cache),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", b"%d" % len(body)),
    ]
    return Answer(200, headers, body)


def _named(answer: Answer) -> dict[str, str]:
    """Return the request id of a refusal, for the log."""
    return {"request_id": dict(answer.headers)[b"request-id"].decode("ascii")}
