"""Web pages at a real HTTPS door: who may call, who may read, and what an attacker's page gets."""

from pathlib import Path

import pytest

from moothall.action.call import Call, Reply
from moothall.core.errors import RateLimitedError
from tests.conformance.http_wire import (
    DOCUMENTS,
    OPENAPI,
    Answer,
    ask_both_ways,
    connect,
    echo,
    get,
    make_tls,
    on_both_loops,
    open_door,
    post,
)

# The door decides, not what the rows lie on.
pytestmark = [pytest.mark.requirement("R32"), pytest.mark.sqlite]

APP = "https://app.example"
FROM_APP = f"Origin: {APP}"
FROM_EVIL = "Origin: https://evil.example"
ASKING = "Access-Control-Request-Method: POST"
READABLE = {
    "vary": "Origin",
    "access-control-allow-origin": APP,
    "access-control-expose-headers": "request-id, retry-after, etag, content-range",
}


def cors_of(answer: Answer) -> dict[str, str]:
    """Return what an answer tells a browser about pages."""
    return {
        name: value
        for name, value in answer.headers.items()
        if name == "vary" or name.startswith("access-control-")
    }


def preflight(path: str = "/v1/hall.ping", *headers: str) -> bytes:
    return get(path, *(headers or (FROM_APP, ASKING)), method="OPTIONS")


class Counting:
    """A pipeline that knows how many calls came through."""

    def __init__(self) -> None:
        self.calls = 0

    async def answer(self, call: Call) -> Reply:
        self.calls += 1
        return await echo(call)


@pytest.mark.parametrize("path", ["/v1/hall.ping", "/v1/feeds/board/7", *DOCUMENTS])
@on_both_loops
async def test_a_browser_learns_what_a_listed_page_may_send(tmp_path: Path, path: str) -> None:
    tls = make_tls(tmp_path)
    async with open_door(context=tls.server, origins=[APP]) as door:
        answer = await ask_both_ways(door, tls, preflight(path))
        assert (answer.status, answer.body) == (204, b"")
        assert cors_of(answer) == READABLE | {
            "access-control-allow-methods": "GET, HEAD, POST, PUT",
            "access-control-allow-headers": (
                "authorization, content-type, idempotency-key, last-event-id, deadline-ms, range"
            ),
            "access-control-max-age": "7200",
        }
        assert "content-length" not in answer.headers, "RFC 9110, section 8.6"


@on_both_loops
async def test_a_preflight_and_its_call_share_a_connection(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    async with (
        open_door(context=tls.server, origins=[APP]) as door,
        connect(door, tls.client) as wire,
    ):
        assert (await wire.ask(preflight())).status == 204
        assert (await wire.ask(post("hall.ping", b"{}", FROM_APP))).status == 200


@on_both_loops
async def test_a_page_that_is_not_listed_is_told_the_remedy(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    for origins in ([APP], []):
        async with open_door(context=tls.server, origins=origins) as door:
            answer = await ask_both_ways(door, tls, preflight("/v1/a.b", FROM_EVIL, ASKING))
            assert (answer.status, answer.json["code"]) == (403, "permission_denied")
            assert "web.origins" in answer.json["details"]["remedy"]
            assert cors_of(answer) == ({"vary": "Origin"} if origins else {})


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (preflight("/nowhere"), 404),
        (preflight("/v1/hall.ping", FROM_APP, ASKING, "Content-Length: 2") + b"{}", 400),
        # Not a browser's question.
        (preflight("/v1/hall.ping", FROM_APP), 405),
        (preflight("/v1/hall.ping", ASKING), 405),
        (preflight("/openapi.json", FROM_APP), 405),
        (preflight("/v1/hall.ping", FROM_APP, FROM_APP, ASKING), 400),
        (preflight("/v1/hall.ping", FROM_APP, ASKING, ASKING), 400),
    ],
)
@on_both_loops
async def test_what_is_no_preflight_is_refused(
    tmp_path: Path, request_: bytes, status: int
) -> None:
    tls = make_tls(tmp_path)
    async with open_door(context=tls.server, origins=[APP]) as door:
        assert (await ask_both_ways(door, tls, request_)).status == status


@on_both_loops
async def test_a_listed_page_reads_answers_and_problems(tmp_path: Path) -> None:
    async def tired(_call: Call) -> Reply:
        return Reply("r", problem=RateLimitedError(retry_after_ms=1_500).problem("r"))

    async def broken(_call: Call) -> Reply:
        raise ZeroDivisionError

    tls = make_tls(tmp_path)
    call = post("hall.ping", b"{}", FROM_APP)
    for pipeline, status in ((echo, 200), (tired, 429), (broken, 500)):
        async with open_door(pipeline, context=tls.server, origins=[APP]) as door:
            answer = await ask_both_ways(door, tls, call)
            assert (answer.status, cors_of(answer)) == (status, READABLE)
    refused_by_the_door = {
        post("hall.ping", b"{}", FROM_APP, "Authorization: Basic x"): 401,
        post("hall.ping", b"{}", FROM_APP, "Content-Encoding: gzip"): 400,
        post("hall.ping", b"x" * 101, FROM_APP): 400,
        get("/v1/hall.ping", FROM_APP): 405,
        get("/nowhere", FROM_APP): 404,
    }
    async with open_door(context=tls.server, origins=[APP], body_size_bytes_max=100) as door:
        for request, status in refused_by_the_door.items():
            answer = await ask_both_ways(door, tls, request)
            assert (answer.status, cors_of(answer)) == (status, READABLE)


@on_both_loops
async def test_documents_are_readable_for_listed_pages_only(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    async with open_door(context=tls.server, origins=[APP]) as door:
        for path in DOCUMENTS:
            for _ in range(2):
                listed = await ask_both_ways(door, tls, get(path, FROM_APP))
                assert (listed.status, cors_of(listed)) == (200, READABLE)
                # No cache may hand one page's answer to another, or what was asked by no page.
                for headers in ([FROM_EVIL], []):
                    other = await ask_both_ways(door, tls, get(path, *headers))
                    assert (other.status, cors_of(other)) == (200, {"vary": "Origin"})
        tag = (await ask_both_ways(door, tls, get("/openapi.json"))).headers["etag"]
        unchanged = get("/openapi.json", FROM_APP, f"If-None-Match: {tag}")
        async with connect(door, tls.client) as wire:
            wire.send(unchanged)
            answer = await wire.read_answer(has_body=False)
            assert (answer.status, cors_of(answer)) == (304, READABLE)


@on_both_loops
async def test_a_hall_without_pages_says_nothing_of_them() -> None:
    async with open_door() as door, connect(door) as wire:
        for request in (post(), get("/openapi.json"), get("/healthz", FROM_EVIL)):
            answer = await wire.ask(request)
            assert (answer.status, cors_of(answer)) == (200, {})
        assert (await wire.ask(get("/openapi.json"))).body == OPENAPI


EVIL_CALLS = {
    "with a token": post("hall.ping", b"{}", FROM_EVIL, "Authorization: Bearer a.b"),
    # What a page may send without asking first: no body, so no type of content to check.
    "without a body": get("/v1/identity.register_guest", FROM_EVIL, method="POST"),
    "from a sandbox": post("hall.ping", b"{}", "Origin: null"),
    "of no origin": post("hall.ping", b"{}", "Origin: "),
    "like the app": post("hall.ping", b"{}", "Origin: https://app.example.evil.example"),
    "as the app's case": post("hall.ping", b"{}", "Origin: HTTPS://APP.EXAMPLE"),
    "by http": post("hall.ping", b"{}", "Origin: http://app.example"),
    "of the host by http": post("hall.ping", b"{}", "Origin: http://localhost"),
    "of another port": post("hall.ping", b"{}", "Origin: https://localhost:444"),
}


@pytest.mark.parametrize("request_", EVIL_CALLS.values(), ids=EVIL_CALLS)
@on_both_loops
async def test_a_call_of_a_strange_page_does_nothing(tmp_path: Path, request_: bytes) -> None:
    tls = make_tls(tmp_path)
    pipeline = Counting()
    async with open_door(pipeline.answer, context=tls.server, origins=[APP]) as door:
        answer = await ask_both_ways(door, tls, request_)
        assert (answer.status, answer.json["code"]) == (403, "permission_denied")
        assert cors_of(answer) == {"vary": "Origin"}
    assert pipeline.calls == 0


@on_both_loops
async def test_a_page_cannot_hide_behind_a_second_origin(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    pipeline = Counting()
    async with open_door(pipeline.answer, context=tls.server, origins=[APP]) as door:
        for pair in ((FROM_APP, FROM_EVIL), (FROM_EVIL, FROM_APP)):
            answer = await ask_both_ways(door, tls, post("hall.ping", b"{}", *pair))
            assert (answer.status, answer.field) == (400, "Origin")
    assert pipeline.calls == 0


@on_both_loops
async def test_a_page_served_at_the_halls_own_address_may_call(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    async with open_door(context=tls.server) as door:
        call = post("hall.ping", b"{}", "Origin: https://localhost")
        answer = await ask_both_ways(door, tls, call)
        assert (answer.status, cors_of(answer)) == (200, {})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        # The name of the attacker's page now leads to this machine (DNS rebinding).
        ("evil.example:8443", 403),
        ("localhost.evil.example:8443", 403),
        ("localhost:8443", 200),
        ("127.0.0.1:8443", 200),
    ],
)
@on_both_loops
async def test_a_name_that_was_bent_to_this_machine_opens_nothing(host: str, status: int) -> None:
    async with open_door() as door, connect(door) as wire:
        call = post("hall.ping", b"{}", f"Origin: http://{host}")
        call = call.replace(b"Host: localhost\r\n", f"Host: {host}\r\n".encode())
        assert (await wire.ask(call)).status == status


@on_both_loops
async def test_what_is_refused_with_its_body_unread_ends_the_connection(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    smuggled = post("hall.ping", b"{}", FROM_EVIL).removesuffix(b"{}") + b"{}" + post()
    pipeline = Counting()
    async with (
        open_door(pipeline.answer, context=tls.server, origins=[APP]) as door,
        connect(door, tls.client) as wire,
    ):
        answer = await wire.ask(smuggled)
        assert (answer.status, answer.headers["connection"]) == (403, "close")
        assert await wire.read_end() == b""
    assert pipeline.calls == 0
