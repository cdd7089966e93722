"""What a frame of JSON-RPC means, without a connection."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.action.call import Reply
from moothall.action.push import Push
from moothall.core.errors import (
    InvalidArgumentError,
    RateLimitedError,
    UnauthenticatedError,
    UnknownActionError,
)
from moothall.transports.jsonrpc.protocol import (
    HEARTBEAT,
    Asked,
    FrameError,
    read_request,
    render_closing,
    render_event,
    render_feed_ended,
    render_refusal,
    render_reply,
)

SAFE = 2**53 - 1


def frame(**members: Any) -> bytes:
    """Return a well-formed request with other members; None leaves one out."""
    told = {"jsonrpc": "2.0", "id": 1, "method": "hall.ping"} | members
    return msgspec.json.encode({name: value for name, value in told.items() if value is not None})


def refuse(message: bytes) -> tuple[int, object, str]:
    """Return code, id and the blamed field of a refusal."""
    with pytest.raises(FrameError) as caught:
        read_request(message)
    told = msgspec.json.decode(render_refusal(caught.value, "r7"))
    assert told["jsonrpc"] == "2.0"
    assert told["error"]["data"]["request_id"] == "r7"
    assert told["error"]["data"]["code"] == "invalid_argument"
    assert told["error"]["data"]["details"]["remedy"]
    return told["error"]["code"], told["id"], told["error"]["data"]["details"]["field"]


@pytest.mark.requirement("R31")
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_request_is_read_from_any_kind_of_bytes(kind: type[Any]) -> None:
    message = b' {"jsonrpc":"2.0","method":"a.b","id":"\\u00e9","params": {"x":"\xc3\xa9"} } \r'
    asked = read_request(kind(message))
    assert asked == Asked("é", "a.b", b'{"x":"\xc3\xa9"}', None, None)


@pytest.mark.requirement("R31")
def test_nothing_of_the_message_is_kept() -> None:
    message = bytearray(frame(params={"x": 1}))
    asked = read_request(memoryview(message))
    message[:] = bytes(len(message))
    assert asked.params == b'{"x":1}'


@pytest.mark.requirement("R34")
def test_key_and_deadline_are_read_from_meta() -> None:
    asked = read_request(frame(meta={"idempotency_key": "k" * 255, "deadline_ms": 600_000}))
    assert (asked.idempotency_key, asked.deadline_ms) == ("k" * 255, 600_000)
    assert asked.params == b""


@pytest.mark.requirement("R31")
@given(asked_id=st.integers(-SAFE, SAFE) | st.text(max_size=16))
def test_id_comes_back_as_it_was(asked_id: int | str) -> None:
    asked = read_request(frame(id=asked_id))
    told = msgspec.json.decode(render_reply(asked.id, Reply("r", b'{"a":[1]}')))
    assert told == {"jsonrpc": "2.0", "id": asked_id, "result": {"a": [1]}}
    assert type(told["id"]) is type(asked_id)


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.requirement("R32")
@pytest.mark.parametrize(
    ("message", "code", "asked_id", "field"),
    [
        (b"", -32700, None, "frame"),
        (b"hello", -32700, None, "frame"),
        (frame()[:-1], -32700, None, "frame"),
        (frame() + b"{}", -32700, None, "frame"),
        (b"\xef\xbb\xbf" + frame(), -32700, None, "frame"),
        (frame().decode().encode("utf-16"), -32700, None, "frame"),
        (frame(method="caf\u00e9").decode().encode("latin-1"), -32700, None, "frame"),
        (frame(params={"x": "\u00e9"}).decode().encode("latin-1"), -32700, None, "frame"),
        (frame()[:-1] + b',"params":' + DEEP + b"}", -32700, None, "frame"),
        (b'{"id":' + DEEP + b"}", -32600, None, "id"),
        (b"[" + frame() + b"]", -32600, None, "frame"),
        (b" \n [", -32600, None, "frame"),
        (b"[]", -32600, None, "frame"),
        (b'"hello"', -32600, None, "frame"),
        (b"null", -32600, None, "frame"),
        (b"{}", -32600, None, "jsonrpc"),
        (frame(id=None), -32600, None, "id"),
        (b'{"jsonrpc":"2.0","method":"a.b","id":null}', -32600, None, "id"),
        (frame(id=1.5), -32600, None, "id"),
        (frame(id=True), -32600, None, "id"),
        (frame(id=[1]), -32600, None, "id"),
        (frame(id=SAFE + 1), -32600, None, "id"),
        (frame(id=-SAFE - 1), -32600, None, "id"),
        (frame()[:-1] + b',"id":1e400}', -32600, None, "id"),
        (frame()[:-1] + b',"id":' + b"9" * 400 + b"}", -32600, None, "id"),
        (frame(id="x" * 65), -32600, None, "id"),
        (frame(id="\u00e9" * 33), -32600, None, "id"),
        (frame(jsonrpc=None), -32600, 1, "jsonrpc"),
        (frame(jsonrpc="1.0"), -32600, 1, "jsonrpc"),
        (frame(jsonrpc=2), -32600, 1, "jsonrpc"),
        (frame(method=None, id="a"), -32600, "a", "method"),
        (frame(method=7), -32600, 1, "method"),
        (frame(param={}), -32600, 1, "param"),
        (frame(result={}), -32600, 1, "result"),
        (frame(meta=5), -32600, 1, "meta"),
        (frame(meta={"deadline": 5}), -32600, 1, "meta.deadline"),
        (frame(meta={"deadline_ms": 0}), -32600, 1, "meta.deadline_ms"),
        (frame(meta={"deadline_ms": 600_001}), -32600, 1, "meta.deadline_ms"),
        (frame(meta={"idempotency_key": 5}), -32600, 1, "meta.idempotency_key"),
        (frame(meta={"idempotency_key": ""}), -32600, 1, "meta.idempotency_key"),
        (frame(meta={"idempotency_key": "k" * 256}), -32600, 1, "meta.idempotency_key"),
        (frame(meta={"idempotency_key": "a b"}), -32600, 1, "meta.idempotency_key"),
    ],
)
def test_what_is_no_request_is_refused(
    message: bytes, code: int, asked_id: object, field: str
) -> None:
    assert refuse(message) == (code, asked_id, field)


@pytest.mark.requirement("R32")
@pytest.mark.parametrize(
    ("more", "field"),
    [
        (b'"method":"a.c"', "method"),
        (b'"id":2', "id"),
        (b'"params":{"x":1},"params":{"x":2}', "params"),
        (b'"meta":{"deadline_ms":1,"deadline_ms":2}', "deadline_ms"),
        (b'"m\\u0065thod":"a.c"', "method"),
    ],
)
def test_member_that_stands_twice_is_refused(more: bytes, field: str) -> None:
    code, _, blamed = refuse(frame()[:-1] + b"," + more + b"}")
    assert (code, blamed.rpartition(".")[2]) == (-32600, field)


@pytest.mark.requirement("R31")
def test_params_are_left_to_the_pipeline_as_they_are() -> None:
    message = frame()[:-1] + b',"params":{"x":1,"x":2}}'
    assert read_request(message).params == b'{"x":1,"x":2}'


@pytest.mark.requirement("R32")
@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
def test_no_bytes_do_harm(message: bytes) -> None:
    try:
        read_request(message)
    except FrameError as error:
        assert error.code in {-32700, -32600}  # noqa: PT017 - what is no error is no harm


@pytest.mark.requirement("R31")
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownActionError("there is no action", near=["hall.ping"]), -32601),
        (InvalidArgumentError("score", "too large", "send less"), -32602),
        (UnauthenticatedError(), -32000),
        (RateLimitedError(retry_after_ms=5), -32000),
    ],
)
def test_failed_call_has_the_problem_in_its_data(error: Any, code: int) -> None:
    problem = error.problem("r7")
    told = msgspec.json.decode(render_reply("a", Reply("r7", problem=problem)))
    assert told["id"] == "a"
    assert told["error"]["code"] == code
    assert told["error"]["message"] == problem.title
    assert told["error"]["data"] == msgspec.to_builtins(problem)
    assert "result" not in told


@pytest.mark.requirement("R31")
def test_what_is_pushed_has_no_id() -> None:
    push = Push("board/7", 3, 41, "score_submitted", 1_700, '{"a":"\u00e9"}')
    assert msgspec.json.decode(render_event(push, 'board/"7"', "e.41")) == {
        "jsonrpc": "2.0",
        "method": "event",
        "params": {
            "feed": 'board/"7"',
            "cursor": "e.41",
            "stream": "board/7",
            "seq": 3,
            "kind": "score_submitted",
            "at": 1_700,
            "data": {"a": "é"},
        },
    }
    ended = msgspec.json.decode(render_feed_ended("a", "permission_denied"))
    assert ended["params"] == {"feed": "a", "reason": "permission_denied"}
    closing = msgspec.json.decode(render_closing("shutdown", "the hall stops"))
    assert closing["params"] == {"reason": "shutdown", "message": "the hall stops"}
    heartbeat = msgspec.json.decode(HEARTBEAT)
    methods = [told["method"] for told in (ended, closing, heartbeat)]
    assert methods == ["feed_ended", "closing", "heartbeat"]
    assert all("id" not in told for told in (ended, closing, heartbeat))
