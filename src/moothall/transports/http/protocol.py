"""What the bytes of HTTP mean: headers to a call, a reply to an answer. Pure, no await.

Refusals are raised as :class:`~moothall.core.errors.ActionError`, so that a malformed header
and a failed call look alike to the client. Whoever edits this file: every request passes
:func:`read_head` and :func:`answer_reply`; the headers are gone through once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from moothall.action.call import KEY_LENGTH_MAX, Reply, is_idempotency_key
from moothall.core.codes import Code
from moothall.core.errors import ActionError, InvalidArgumentError, Problem, UnauthenticatedError
from moothall.core.units import DEADLINE_MS_MAX
from moothall.transports.upgrade import UpgradeNeededError

CALL_PREFIX = b"/v1/"
FEED_PREFIX = b"/v1/feeds/"
FILE_PREFIX = b"/v1/files/"
ACTION_SIZE_BYTES_MAX = 128
PREFLIGHT_HEADER = b"access-control-request-method"
SHA256_DIGITS = 64
STATUS_METHOD_NOT_ALLOWED = 405
STATUS_UPGRADE_REQUIRED = 426

PATHS = [
    "/v1/<room>.<action>",
    "/v1/feeds/<feed>",
    "/v1/files/<sha256>",
    "/v1/socket",
    "/openapi.json",
    "/.well-known/jwks.json",
    "/.well-known/moothall",
    "/healthz",
]

Headers = list[tuple[bytes, bytes]]

_JSON = b"application/json"
_NAME_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_FILE_METHODS = ("GET", "HEAD", "PUT")
_BASIC_HEADERS: Headers = [
    (b"content-type", _JSON),
    # An answer may hold what only its receiver may see.
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
_PROBLEM_HEADERS: Headers = [(b"content-type", b"application/problem+json"), *_BASIC_HEADERS[1:]]
_UPGRADE_HEADERS: Headers = [
    (b"connection", b"Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
]
_SENT_ONCE = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"deadline-ms",
        b"host",
        b"idempotency-key",
        b"if-range",
        b"last-event-id",
        b"origin",
        b"range",
        b"transfer-encoding",
        PREFLIGHT_HEADER,
    }
)
"""Headers with a meaning here; a second one of a kind is an attack or a mistake."""


class PathNotFoundError(ActionError):
    """There is nothing at this path; ``details.paths`` lists what there is."""

    code = Code.NOT_FOUND


class MethodNotAllowedError(ActionError):
    """This path does not take this method; ``details.allow`` lists those it takes."""

    code = Code.UNIMPLEMENTED


class CallRequest(NamedTuple):
    """An action that somebody calls.

    In every kind of request ``body_size_bytes`` is the declared size of the body, or None where
    it comes in chunks, and ``origin`` where the page came from that sends it; None if none does.
    """

    action: str
    """Wire name; whether there is such an action, the pipeline knows."""
    token: str | None
    idempotency_key: str | None
    body_size_bytes: int | None
    deadline_ms: int | None = None
    origin: str | None = None


class FeedRequest(NamedTuple):
    """A feed that somebody wants to follow."""

    feed: str
    after: str
    """The cursor to begin after; empty where none is given."""
    token: str | None
    body_size_bytes: int | None = 0
    origin: str | None = None


class FileRequest(NamedTuple):
    """A file that somebody sends or asks for; conditions are empty where none are given."""

    method: str
    sha256: str
    token: str | None
    range: str
    if_range: str
    if_none_match: str
    body_size_bytes: int | None = 0
    origin: str | None = None


class DocumentRequest(NamedTuple):
    """One of the documents; which one, and whether there is such a one, the path tells."""

    body_size_bytes: int | None = 0
    origin: str | None = None


class PreflightRequest(NamedTuple):
    """A browser's question what a page may send here (Fetch, CORS preflight)."""

    body_size_bytes: int | None
    origin: str


RequestHead = CallRequest | FeedRequest | FileRequest | DocumentRequest | PreflightRequest
"""What a request line and its headers ask for."""


class UpgradeRequest(NamedTuple):
    """A request that goes on in another protocol."""

    token: str | None
    origin: str | None


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


def read_head(
    scope: Mapping[str, Any], body_size_bytes_max: int, file_size_bytes_max: int = 0
) -> RequestHead:
    """Return what the head of a request asks for.

    Args:
        scope: The ASGI scope: ``method``, ``raw_path``, ``query_string``, ``http_version``
            and ``headers`` (names in lower case).
        body_size_bytes_max: Bound of a declared body.
        file_size_bytes_max: The same for a file that is sent.

    Raises:
        InvalidArgumentError: A header or the query cannot be used; ``field`` names it.
        UnauthenticatedError: ``Authorization`` speaks of another scheme than Bearer.
        MethodNotAllowedError: An action was addressed with another method than POST.
    """
    seen = _see_headers(scope)
    path: bytes = scope["raw_path"]
    is_file = path.startswith(FILE_PREFIX)
    size_bytes_max = body_size_bytes_max
    if is_file and scope["method"] == "PUT":
        size_bytes_max = file_size_bytes_max
    size_bytes = _body_size(seen, scope["http_version"], size_bytes_max)
    origin = seen[b"origin"].decode("latin-1") if b"origin" in seen else None
    if origin is not None and PREFLIGHT_HEADER in seen and scope["method"] == "OPTIONS":
        return PreflightRequest(size_bytes, origin)
    if not path.startswith(CALL_PREFIX):
        return DocumentRequest(size_bytes, origin)
    if path.startswith(FEED_PREFIX):
        return _feed_of(scope, seen)._replace(body_size_bytes=size_bytes, origin=origin)
    if is_file:
        return _file_of(scope, seen)._replace(body_size_bytes=size_bytes, origin=origin)
    action = _action_of(path)
    if scope["method"] != "POST":
        raise MethodNotAllowedError("actions are called with POST", allow=["POST"])
    if scope["query_string"]:
        raise InvalidArgumentError(
            "query",
            "a call takes no query; what stands in a URL ends up in logs",
            "send the fields as JSON in the body",
        )
    if size_bytes != 0:
        _check_content(seen)
    return CallRequest(
        action,
        _token_of(seen[b"authorization"]) if b"authorization" in seen else None,
        _key_of(seen[b"idempotency-key"]) if b"idempotency-key" in seen else None,
        size_bytes,
        _deadline_of(seen[b"deadline-ms"]) if b"deadline-ms" in seen else None,
        origin,
    )


def read_upgrade_head(scope: Mapping[str, Any]) -> UpgradeRequest:
    """Return what the head says of a request that goes on in another protocol.

    Raises:
        InvalidArgumentError: A header or the query cannot be used; ``field`` names it.
        UnauthenticatedError: ``Authorization`` speaks of another scheme than Bearer.
    """
    seen = _see_headers(scope)
    if scope["query_string"]:
        raise InvalidArgumentError(
            "query",
            "a connection takes no query; what stands in a URL ends up in logs",
            "send a token as Authorization: Bearer, or call identity.authenticate",
        )
    return UpgradeRequest(
        _token_of(seen[b"authorization"]) if b"authorization" in seen else None,
        seen[b"origin"].decode("latin-1") if b"origin" in seen else None,
    )


def _see_headers(scope: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Return the headers with a meaning here, each sent once."""
    seen: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _SENT_ONCE:
            if name in seen:
                raise InvalidArgumentError(_spelled(name), "the header came twice", "send one")
            seen[name] = value
    if b"host" not in seen and scope["http_version"] == "1.1":
        # RFC 9112, section 3.2.
        raise InvalidArgumentError("Host", "the header is missing", "name the host")
    return seen


def find_header(scope: Mapping[str, Any], wanted: bytes) -> str:
    """Return the first header of a name, or nothing."""
    for name, value in scope["headers"]:
        if name == wanted:
            text: str = value.decode("latin-1")
            return text
    return ""


def check_body_size(size_bytes: int, size_bytes_max: int) -> None:
    """Refuse a body that is too large, declared or received.

    Raises:
        InvalidArgumentError: It is.
    """
    if size_bytes > size_bytes_max:
        raise InvalidArgumentError(
            "body",
            f"the body is larger than {size_bytes_max} bytes",
            "send less at a time",
            size_bytes_max=size_bytes_max,
        )


def _spelled(name: bytes) -> str:
    return name.decode("ascii").title()


def _body_size(seen: Mapping[bytes, bytes], http_version: str, size_bytes_max: int) -> int | None:
    """Return the size of the body by RFC 9112, section 6; None for chunks.

    The parser has refused what is ambiguous (both headers, two sizes, a sign); it lets other
    codings before ``chunked`` through, and chunks in HTTP/1.0, and a proxy may read either
    differently.
    """
    if b"transfer-encoding" in seen:
        if seen[b"transfer-encoding"].lower() != b"chunked" or http_version != "1.1":
            raise InvalidArgumentError(
                "Transfer-Encoding",
                "only 'chunked' is understood, and only in HTTP/1.1",
                "send Content-Length",
            )
        return None
    length = seen.get(b"content-length")
    if length is None:
        return 0
    if not length.isdigit():
        raise InvalidArgumentError("Content-Length", "the size of the body is a number")
    # Leading zeros aside, more digits than this is more than any bound.
    size_bytes = int(length) if len(length) <= 18 else size_bytes_max + 1  # noqa: PLR2004
    check_body_size(size_bytes, size_bytes_max)
    return size_bytes


def _feed_of(scope: Mapping[str, Any], seen: Mapping[bytes, bytes]) -> FeedRequest:
    """Return which feed is asked for; whether there is such a feed, the pipeline knows."""
    if scope["method"] != "GET":
        raise MethodNotAllowedError("feeds are read", allow=["GET"])
    if scope["http_version"] != "1.1":
        raise InvalidArgumentError("version", "a feed is a stream, which HTTP/1.1 has")
    if scope["query_string"]:
        raise InvalidArgumentError(
            "query",
            "a feed takes no query; what stands in a URL ends up in logs",
            "send the cursor as Last-Event-ID",
        )
    try:
        name = unquote_to_bytes(scope["raw_path"][len(FEED_PREFIX) :]).decode()
    except UnicodeDecodeError:
        raise PathNotFoundError("a feed is at /v1/feeds/<feed>", paths=PATHS) from None
    after = seen.get(b"last-event-id", b"").decode("latin-1")
    token = _token_of(seen[b"authorization"]) if b"authorization" in seen else None
    return FeedRequest(name, after, token)


def _file_of(scope: Mapping[str, Any], seen: Mapping[bytes, bytes]) -> FileRequest:
    """Return which file is sent or asked for; whether there is such a file, the pipeline knows."""
    method: str = scope["method"]
    if method not in _FILE_METHODS:
        raise MethodNotAllowedError("files are sent and read", allow=list(_FILE_METHODS))
    sha256 = scope["raw_path"][len(FILE_PREFIX) :]
    if len(sha256) != SHA256_DIGITS or sha256.translate(None, b"0123456789abcdef"):
        raise PathNotFoundError("a file is at /v1/files/<sha256>, in small letters", paths=PATHS)
    if scope["query_string"]:
        raise InvalidArgumentError("query", "a file takes no query; send the token as a header")
    for name in (b"content-range", b"idempotency-key") if method == "PUT" else ():
        if name in seen:
            # RFC 9110, section 14.5: whoever does not understand a part must refuse it.
            reason = "a file is sent whole, and twice does no harm"
            raise InvalidArgumentError(_spelled(name), reason, "files.put_chunk takes parts")
    if seen.get(b"content-encoding", b"identity").lower() != b"identity":
        raise InvalidArgumentError(
            "Content-Encoding", "a body must not be compressed", "send it as it is"
        )
    conditions = dict(scope["headers"])
    return FileRequest(
        method,
        sha256.decode("ascii"),
        _token_of(seen[b"authorization"]) if b"authorization" in seen else None,
        seen.get(b"range", b"").decode("latin-1"),
        seen.get(b"if-range", b"").decode("latin-1"),
        conditions.get(b"if-none-match", b"").decode("latin-1"),
    )


def _action_of(path: bytes) -> str:
    """Return the name after the prefix; whether there is such an action, the pipeline knows."""
    name = path[len(CALL_PREFIX) :]
    if len(name) > ACTION_SIZE_BYTES_MAX or name.translate(None, _NAME_BYTES):
        raise PathNotFoundError("an action is called at /v1/<room>.<action>", paths=PATHS)
    return name.decode("ascii")


def _check_content(seen: Mapping[bytes, bytes]) -> None:
    """Refuse a body that is not plain JSON in UTF-8 (RFC 8259, section 8.1)."""
    kind = seen.get(b"content-type", b"")
    if kind != _JSON:
        media_type, _, parameter = kind.lower().partition(b";")
        charset = parameter.replace(b" ", b"").replace(b'"', b"")
        if media_type.strip() != _JSON or charset not in {b"", b"charset=utf-8"}:
            raise InvalidArgumentError(
                "Content-Type", "a body must be JSON in UTF-8", "send application/json"
            )
    if seen.get(b"content-encoding", b"identity").lower() != b"identity":
        raise InvalidArgumentError(
            "Content-Encoding", "a body must not be compressed", "send it as it is"
        )


def _token_of(value: bytes) -> str:
    """Return the token of ``Authorization: Bearer <token>`` (RFC 6750, section 2.1)."""
    scheme, _, token = value.partition(b" ")
    if scheme.lower() != b"bearer":
        raise UnauthenticatedError("the scheme of Authorization must be Bearer")
    token = token.strip(b" ")
    if not token or b" " in token or not token.isascii():
        raise InvalidArgumentError(
            "Authorization", "the header holds no access token", "send 'Bearer', a space, the token"
        )
    return token.decode("ascii")


def _key_of(value: bytes) -> str:
    key = value.decode("latin-1")
    if not is_idempotency_key(key):
        raise InvalidArgumentError(
            "Idempotency-Key",
            f"a key is 1 to {KEY_LENGTH_MAX} visible ASCII characters",
            "send a UUID",
        )
    return key


def _deadline_of(value: bytes) -> int:
    """Return the time that a client gives its call, in milliseconds."""
    is_number = value.isdigit() and len(value) <= len(str(DEADLINE_MS_MAX))
    if not is_number or not 1 <= int(value) <= DEADLINE_MS_MAX:
        raise InvalidArgumentError(
            "Deadline-Ms",
            f"the deadline is a whole number of milliseconds from 1 to {DEADLINE_MS_MAX}",
            "leave it out to have the action's own",
        )
    return int(value)


def head_too_large(size_bytes_max: int) -> ActionError:
    """Return the refusal of a request line and headers beyond their bound."""
    return InvalidArgumentError(
        "headers",
        f"the request line and the headers are larger than {size_bytes_max} bytes",
        "send less",
        size_bytes_max=size_bytes_max,
    )


def malformed(error: Exception) -> ActionError:
    """Return the refusal of what the parser could not read."""
    return InvalidArgumentError("request", f"this is not HTTP/1.1: {error}")


def render_last(answer: Answer, more_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the bytes of an answer after which the connection closes."""
    phrase = HTTPStatus(answer.status).phrase.encode("ascii")
    lines = [b"HTTP/1.1 %d %b\r\n" % (answer.status, phrase)]
    for name, value in [*more_headers, *answer.headers]:
        lines += [name, b": ", value, b"\r\n"]
    return b"".join([*lines, b"connection: close\r\n\r\n", answer.body])


def answer_reply(reply: Reply, *, had_token: bool) -> Answer:
    """Return the answer to a call: the result as it is, or the problem."""
    if reply.body is None:
        assert reply.problem is not None
        return answer_problem(reply.problem, had_token=had_token)
    body = reply.body
    return Answer(
        200,
        [
            *_BASIC_HEADERS,
            (b"content-length", b"%d" % len(body)),
            (b"request-id", reply.request_id.encode("ascii")),
        ],
        body,
    )


def answer_error(error: ActionError, request_id: str) -> Answer:
    """Return the answer to a request that the door itself refuses."""
    problem = error.problem(request_id)
    if isinstance(error, MethodNotAllowedError):
        # None of the twelve codes has status 405, but HTTP has it for exactly this.
        problem = replace(problem, status=STATUS_METHOD_NOT_ALLOWED)
        answer = answer_problem(problem, had_token=False)
        allow = ", ".join(_texts(error.details["allow"]))
        answer.headers.append((b"allow", allow.encode("ascii")))
        return answer
    if isinstance(error, UpgradeNeededError):
        # RFC 9110, section 15.5.22, and RFC 6455, section 4.4; a library looks at the status.
        problem = replace(problem, status=STATUS_UPGRADE_REQUIRED)
        answer = answer_problem(problem, had_token=False)
        answer.headers.extend(_UPGRADE_HEADERS)
        return answer
    return answer_problem(problem, had_token=False)


def _texts(value: object) -> Iterable[str]:
    return map(str, value) if isinstance(value, list) else ()


def answer_problem(problem: Problem, *, had_token: bool) -> Answer:
    """Return a problem as ``application/problem+json`` (RFC 9457)."""
    body = msgspec.json.encode(problem)
    headers = [
        *_PROBLEM_HEADERS,
        (b"content-length", b"%d" % len(body)),
        (b"request-id", problem.request_id.encode("ascii")),
    ]
    if problem.code == Code.UNAUTHENTICATED:
        # RFC 6750, section 3: no error code for a request without any token.
        challenge = b'Bearer error="invalid_token"' if had_token else b"Bearer"
        headers.append((b"www-authenticate", challenge))
    wait_ms = problem.details.get("retry_after_ms")
    if isinstance(wait_ms, int):
        # Whole seconds, rounded up: who comes earlier is refused again.
        headers.append((b"retry-after", b"%d" % max(1, -(-wait_ms // 1_000))))
    return Answer(problem.status, headers, body)
