from typing import Any

import msgspec
import pytest

from moothall.action.call import Reply
from moothall.core.errors import (
    ActionError,
    InvalidArgumentError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
)
from moothall.transports.http.protocol import (
    CallRequest,
    DocumentRequest,
    MethodNotAllowedError,
    PathNotFoundError,
    answer_error,
    answer_reply,
    read_head,
)

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
TWO = (b"content-length", b"2")


def scope(
    *headers: tuple[bytes, bytes],
    path: bytes = b"/v1/hall.ping",
    method: str = "POST",
    query: bytes = b"",
    version: str = "1.1",
) -> dict[str, Any]:
    return {
        "method": method,
        "raw_path": path,
        "query_string": query,
        "http_version": version,
        "headers": [(b"host", b"a"), *headers],
    }


def read_call(head: dict[str, Any]) -> CallRequest:
    found = read_head(head, 10)
    assert isinstance(found, CallRequest)
    return found


def test_a_full_head() -> None:
    head = read_head(
        scope(JSON, TWO, (b"authorization", b"Bearer a.b"), (b"idempotency-key", b"k-1")), 10
    )
    assert head == CallRequest("hall.ping", "a.b", "k-1", 2)


def test_a_bare_head() -> None:
    assert read_head(scope(), 10) == CallRequest("hall.ping", None, None, 0)


def test_what_is_no_call_is_a_document() -> None:
    head = read_head(scope(path=b"/healthz", method="GET"), 10)
    assert head == DocumentRequest(body_size_bytes=0, origin=None)


@pytest.mark.parametrize("value", [b"Bearer x", b"bearer x", b"BEARER   x "])
def test_the_scheme_has_no_case(value: bytes) -> None:
    assert read_call(scope((b"authorization", value))).token == "x"


@pytest.mark.parametrize(
    "value",
    [
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
        b"Application/JSON ; Charset=utf-8",
    ],
)
def test_json_in_utf_8_may_be_said_at_length(value: bytes) -> None:
    assert read_head(scope(TWO, (b"content-type", value)), 10).body_size_bytes == 2


def test_chunks_have_no_size_yet() -> None:
    chunks = (b"transfer-encoding", b"Chunked")
    assert read_head(scope(JSON, chunks), 10).body_size_bytes is None


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ([TWO], "Content-Type"),
        ([TWO, (b"content-type", b"text/plain")], "Content-Type"),
        ([TWO, (b"content-type", b"application/json; charset=latin-1")], "Content-Type"),
        ([TWO, (b"content-type", b"application/json; version=2")], "Content-Type"),
        ([TWO, JSON, JSON], "Content-Type"),
        ([TWO, JSON, (b"content-encoding", b"gzip")], "Content-Encoding"),
        ([JSON, (b"content-length", b"11")], "body"),
        ([JSON, (b"content-length", b"9" * 5_000)], "body"),
        ([JSON, (b"content-length", b"-1")], "Content-Length"),
        ([JSON, TWO, TWO], "Content-Length"),
        ([JSON, (b"transfer-encoding", b"gzip, chunked")], "Transfer-Encoding"),
        ([(b"authorization", b"Bearer")], "Authorization"),
        ([(b"authorization", b"Bearer  ")], "Authorization"),
        ([(b"authorization", b"Bearer a b")], "Authorization"),
        ([(b"authorization", b"Bearer \xff")], "Authorization"),
        ([(b"authorization", b"Bearer a")] * 2, "Authorization"),
        ([(b"idempotency-key", b"")], "Idempotency-Key"),
        ([(b"idempotency-key", b"x" * 256)], "Idempotency-Key"),
        ([(b"idempotency-key", b"a b")], "Idempotency-Key"),
        ([(b"idempotency-key", b"\xc3\xa4")], "Idempotency-Key"),
        ([(b"idempotency-key", b"a")] * 2, "Idempotency-Key"),
        ([(b"host", b"b")], "Host"),
    ],
)
def test_a_header_that_cannot_be_used_is_named(headers: Headers, field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_head(scope(*headers), 10)
    assert caught.value.details["field"] == field


def test_a_key_of_255_characters_is_fine() -> None:
    key = b"x" * 255
    assert read_call(scope((b"idempotency-key", key))).idempotency_key == key.decode()


def test_chunks_in_an_old_version_are_refused() -> None:
    with pytest.raises(InvalidArgumentError):
        read_head(scope(JSON, (b"transfer-encoding", b"chunked"), version="1.0"), 10)


def test_an_old_version_needs_no_host() -> None:
    old = scope(version="1.0")
    old["headers"] = []
    assert read_call(old).action == "hall.ping"
    with pytest.raises(InvalidArgumentError):
        read_head(old | {"http_version": "1.1"}, 10)


def test_a_secret_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_head(scope(query=b"access_token=hush"), 10)
    assert caught.value.details["field"] == "query"
    assert "hush" not in str(caught.value.details)


def test_another_scheme_is_not_a_token() -> None:
    with pytest.raises(UnauthenticatedError):
        read_head(scope((b"authorization", b"Basic YTpi")), 10)


@pytest.mark.parametrize(
    "path", [b"/v1/a/b", b"/v1/a%2eb", b"/v1/" + b"x" * 129, b"/v1/a..b/", b"/v1/a;b"]
)
def test_a_path_that_cannot_be_an_action_is_not_found(path: bytes) -> None:
    with pytest.raises(PathNotFoundError):
        read_head(scope(path=path), 10)


def test_actions_are_called_with_post_only() -> None:
    with pytest.raises(MethodNotAllowedError) as caught:
        read_head(scope(method="GET"), 10)
    answer = answer_error(caught.value, "r")
    assert answer.status == 405
    assert (b"allow", b"POST") in answer.headers
    body = msgspec.json.decode(answer.body)
    assert (body["status"], body["code"]) == (405, "unimplemented")


def test_a_result_is_answered_as_it_is() -> None:
    answer = answer_reply(Reply("r-1", b'{"a":1}'), had_token=True)
    assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert dict(answer.headers) == {
        b"content-type": b"application/json",
        b"cache-control": b"no-store",
        b"x-content-type-options": b"nosniff",
        b"content-length": b"7",
        b"request-id": b"r-1",
    }


@pytest.mark.parametrize(
    ("error", "had_token", "status", "name", "value"),
    [
        (UnauthenticatedError(), False, 401, b"www-authenticate", b"Bearer"),
        (
            UnauthenticatedError(),
            True,
            401,
            b"www-authenticate",
            b'Bearer error="invalid_token"',
        ),
        (RateLimitedError(retry_after_ms=1), True, 429, b"retry-after", b"1"),
        (RateLimitedError(retry_after_ms=2_001), True, 429, b"retry-after", b"3"),
        (OverloadedError(retry_after_ms=1_000), True, 503, b"retry-after", b"1"),
        (OverloadedError(), True, 503, b"retry-after", None),
        (PermissionDeniedError(), True, 403, b"www-authenticate", None),
    ],
)
def test_a_problem_brings_its_headers(
    error: ActionError, *, had_token: bool, status: int, name: bytes, value: bytes | None
) -> None:
    answer = answer_reply(Reply("r-1", problem=error.problem("r-1")), had_token=had_token)
    headers = dict(answer.headers)
    assert answer.status == status
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"content-length"] == b"%d" % len(answer.body)
    assert headers[b"request-id"] == b"r-1"
    assert headers.get(name) == value
    assert msgspec.json.decode(answer.body)["status"] == status
