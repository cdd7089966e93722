"""One table of calls through all doors of one running hall: each gives the same answer (R31)."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.conformance.doors_wire import (
    DOORS_ASKED,
    PIECE_SIZE_BYTES,
    Ask,
    Outcome,
    Place,
    ask_https,
    encode_request,
    place_of,
    read_rest,
    speak_lines,
    speak_socket,
)
from tests.plays.conftest import PASSWORD, RunningHall

INVALID, DENIED, UNSIGNED = "invalid_argument", "permission_denied", "unauthenticated"
RPC_CODES = {"unknown_action": -32601, INVALID: -32602}
ADA = {"name": "ada", "password": PASSWORD}


class Site(NamedTuple):
    """A hall that runs, and whose tokens there are."""

    place: Place
    tokens: Mapping[str, str]


class Row(NamedTuple):
    """A call and what it must come to.

    Attributes:
        action: Wire name.
        request: The body: an object, or the bytes themselves.
        who: Whose token it carries; nobody's where empty.
        name: Of the problem; empty where the call is good.
        code: One of the twelve, where it is not the problem's name.
        told: What must stand in the result or in the problem's details.
        fresh: Members of the result that differ from call to call.
        envelope: A door refuses it before it is a call, and names the place in its own way.
    """

    action: str
    request: Any = b"{}"
    who: str = ""
    name: str = ""
    code: str = ""
    told: Mapping[str, Any] = {}
    key: str | None = None
    deadline_ms: int | None = None
    fresh: frozenset[str] = frozenset()
    envelope: bool = False


def of(*names: str) -> frozenset[str]:
    return frozenset(names)


GET = "leaderboards.get_board"
LIST = "leaderboards.list_entries"
SUBMIT = "leaderboards.submit_score"
IMPORT = "leaderboards.import_entries"
CREATE = "leaderboards.create_board"
KART = {"board_id": "kart"}
SCORE = {"board_id": "kart", "score": 1.5}
BOARD = {"name": "Kart", "direction": "descending", "board_id": "kart"}
SESSION = of("session_id", "refresh_token", "access_token", "opened_at_ms")
EXPIRIES = of("refresh_expires_at_ms", "access_expires_at_ms")
SEALED = of("rows_checked", "last_sealed_number", "unsealed_rows", "heads_checked")
ENTRY = of("entry_id", "submitted_at_ms")


def imported(**more: Any) -> dict[str, Any]:
    entry = {"submitter": "old", "score": 1.0, "submitted_at_ms": 1}
    return {"board_id": "kart", "entries": [entry, {**entry, **more}]}


ROWS = {
    # Good calls, of each effect, by nobody, by members and by administrators.
    "public read": Row("hall.ping", told={"answer": "pong"}, fresh=of("now_ms")),
    "no body": Row("hall.ping", b"", told={"answer": "pong"}, fresh=of("now_ms")),
    "public read of settings": Row("identity.get_registration", told={"mode": "open"}),
    "public read, signed": Row("identity.get_registration", who="ada", told={"mode": "open"}),
    "public flow": Row(
        "identity.open_session", ADA, told={"name": "ada"}, fresh=SESSION | EXPIRIES
    ),
    "read of oneself": Row("identity.get_self", who="ada", told={"name": "ada"}),
    "read of a resource": Row(GET, KART, "ada", told={"board_id": "kart", "level": "write"}),
    "read by an administrator": Row("leaderboards.list_boards", who="boss", told={"next": None}),
    "read with spaces": Row(GET, b' {\t"board_id" :\r"kart" } ', "ada", told=KART),
    "read with escapes": Row(GET, b'{"board_\\u0069d":"k\\u0061rt"}', "ada", told=KART),
    "read with a deadline": Row(GET, KART, "ada", told=KART, deadline_ms=600_000),
    "write": Row(SUBMIT, SCORE, "ada", told={"score": 1.5}, fresh=ENTRY),
    "write beyond ASCII": Row(
        SUBMIT, {**SCORE, "description": "ünï\n\U0001f600"}, "ada", told=KART, fresh=ENTRY
    ),
    "whole number for a number": Row(SUBMIT, {**SCORE, "score": 7}, "ada", fresh=ENTRY),
    "write replayed": Row(SUBMIT, {**SCORE, "score": 42.0}, "ada", told={"score": 42.0}, key="a"),
    "flow": Row("access.verify_audit", who="boss", fresh=SEALED),
    # Who calls.
    "nobody": Row("identity.get_self", name=UNSIGNED),
    "nobody, protected": Row("access.list_audit", name=UNSIGNED),
    "token is none": Row("identity.get_self", who="rubbish", name=UNSIGNED),
    "token of nobody": Row("identity.get_self", who="forged", name=UNSIGNED),
    "token not signed": Row("identity.get_self", who="unsigned", name=UNSIGNED),
    "session is over": Row("identity.get_self", who="gone", name=UNSIGNED),
    # May they.
    "permission missing": Row(CREATE, BOARD, "ada", DENIED, told={"permission": "boards:create"}),
    "permission missing to read": Row("hall.list_connections", who="ada", name=DENIED),
    "permission missing for a flow": Row("hall.shutdown", who="ada", name=DENIED),
    "hidden": Row(GET, {"board_id": "secret"}, "ada", DENIED, told={"path": "board/secret"}),
    "absent looks hidden": Row(GET, {"board_id": "none"}, "ada", DENIED),
    "absent is told": Row(GET, {"board_id": "none"}, "boss", "board_not_found", "not_found"),
    "absent entry looks hidden": Row(
        "leaderboards.verify_entry", {"entry_id": "none"}, "ada", DENIED
    ),
    "absent entry is told": Row(
        "leaderboards.verify_entry", {"entry_id": "none"}, "boss", "entry_not_found", "not_found"
    ),
    # What is not there.
    "unknown action": Row(
        "hall.pin", name="unknown_action", code="unimplemented", told={"near": ["hall.ping"]}
    ),
    "unknown action, signed": Row(
        "leaderboards.get_bord", who="ada", name="unknown_action", code="unimplemented"
    ),
    "nothing like it": Row("qqq.zzz", name="unknown_action", code="unimplemented"),
    "case counts": Row("hall.PING", name="unknown_action", code="unimplemented"),
    "internals are no actions": Row("hall.__init__", name="unknown_action", code="unimplemented"),
    # The form.
    "number for text": Row(GET, {"board_id": 7}, "ada", INVALID, told={"field": "board_id"}),
    "null for text": Row(GET, {"board_id": None}, "ada", INVALID, told={"field": "board_id"}),
    "text for number": Row(SUBMIT, {**SCORE, "score": "1"}, "ada", INVALID),
    "truth for number": Row(SUBMIT, {**SCORE, "score": True}, "ada", INVALID),
    "part for whole": Row(LIST, {**KART, "limit": 1.5}, "ada", INVALID, told={"field": "limit"}),
    "list for object": Row("hall.ping", b"[]", name=INVALID, told={"field": "body"}),
    "text for object": Row("hall.ping", b'"x"', name=INVALID, told={"field": "body"}),
    "number for object": Row("hall.ping", b"1", name=INVALID, told={"field": "body"}),
    "null for object": Row("hall.ping", b"null", name=INVALID, told={"field": "body"}),
    "no choice": Row(CREATE, {**BOARD, "direction": "sideways"}, "boss", INVALID),
    "unknown member": Row(GET, {**KART, "bord_id": 1}, "ada", INVALID, told={"field": "bord_id"}),
    "unknown member inside": Row(
        IMPORT, imported(extra=1), "boss", INVALID, told={"field": "entries[1].extra"}
    ),
    "unknown member, form before token": Row(GET, {"x": 1}, name=INVALID),
    "missing member": Row(SUBMIT, KART, "ada", INVALID, told={"field": "score"}),
    "missing body": Row(GET, b"", "ada", INVALID, told={"field": "board_id"}),
    "wrong inside": Row(IMPORT, imported(score=[]), "boss", INVALID),
    "too deep": Row("hall.ping", b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", name=INVALID),
    "far too deep": Row("hall.ping", b'{"a":' + b"[" * 100_000, name=INVALID, envelope=True),
    "said twice": Row(
        GET, b'{"board_id":"kart","board_id":"secret"}', "ada", INVALID, told={"field": "board_id"}
    ),
    "said twice, once with escapes": Row(
        GET, b'{"board_id":"kart","b\\u006fard_id":"secret"}', "ada", INVALID
    ),
    "said twice inside": Row(
        IMPORT,
        b'{"board_id":"kart","entries":[{"submitter":"a","submitted_at_ms":1,"score":1,"score":2}]}',
        "boss",
        INVALID,
        told={"field": "entries[0].score"},
    ),
    "out of range": Row(LIST, {**KART, "limit": 0}, "ada", INVALID, told={"field": "limit"}),
    "beyond 64 bits": Row(LIST, {**KART, "limit": 10**30}, "ada", INVALID),
    "infinite": Row(SUBMIT, b'{"board_id":"kart","score":1e999}', "ada", INVALID),
    "before all time": Row(IMPORT, imported(submitted_at_ms=-1), "boss", INVALID),
    "empty text": Row(GET, {"board_id": ""}, "ada", INVALID, told={"field": "board_id"}),
    "path in an id": Row(GET, {"board_id": "a/../secret"}, "ada", INVALID),
    "text too long": Row(SUBMIT, {**SCORE, "description": "x" * 4_001}, "ada", INVALID),
    "text far too long": Row(SUBMIT, {**SCORE, "description": "x" * 1_000_000}, "ada", INVALID),
    # No JSON. Here it is the door that speaks, of the body or of the frame.
    "half a pair": Row(GET, b'{"board_id":"\\ud800"}', "ada", INVALID, envelope=True),
    "not JSON": Row(GET, b"board_id=kart", "ada", INVALID, envelope=True),
    "not a number": Row(SUBMIT, b'{"board_id":"kart","score":NaN}', "ada", INVALID, envelope=True),
    "cut off": Row(GET, b'{"board_id":"kart"', "ada", INVALID, envelope=True),
    "something behind": Row(GET, b'{"board_id":"kart"}}', "ada", INVALID, envelope=True),
    # Keys and deadlines.
    "key reused": Row(
        SUBMIT, {**SCORE, "score": 43.0}, "ada", "key_reused", "failed_precondition", key="used"
    ),
    "key of a read": Row(GET, KART, "ada", INVALID, key="k", told={"field": "idempotency_key"}),
    "key of a public flow": Row("identity.open_session", ADA, name=INVALID, key="k"),
    "key with a space": Row(SUBMIT, SCORE, "ada", INVALID, key="a b", envelope=True),
    "key too long": Row(SUBMIT, SCORE, "ada", INVALID, key="k" * 256, envelope=True),
    "key empty": Row(SUBMIT, SCORE, "ada", INVALID, key="", envelope=True),
    "deadline of nothing": Row(GET, KART, "ada", INVALID, deadline_ms=0, envelope=True),
    "deadline too late": Row(GET, KART, "ada", INVALID, deadline_ms=600_001, envelope=True),
    "deadline missed": Row(
        "identity.register",
        {"name": "late", "password": PASSWORD},
        name="deadline_exceeded",
        deadline_ms=1,
    ),
    # What the deed itself refuses.
    "there already": Row(CREATE, BOARD, "boss", "board_exists", "already_exists"),
    "claimed already": Row(
        "access.claim_administration",
        {"secret": "x"},
        "ada",
        "administration_claimed",
        "failed_precondition",
    ),
    "cursor of another hall": Row(
        "feeds.acknowledge",
        {"feed": "board/kart", "cursor": "x.1"},
        "ada",
        "cursor_expired",
        "failed_precondition",
    ),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One hall for the whole table."""
    folder = tmp_path_factory.mktemp("doors")
    (folder / "moothall.toml").write_text("limits_scale = 1000.0\n")
    hall = RunningHall(folder / "hall", "--config", str(folder / "moothall.toml"))
    yield Site(place_of(hall), asyncio.run(furnish(hall)))
    hall.stop()


async def furnish(hall: RunningHall) -> dict[str, str]:
    """Bring members and boards in; return the tokens."""
    place = place_of(hall)

    async def does(action: str, who: str | None = None, **request: Any) -> Any:
        outcome = await ask_https(place, Ask(action, msgspec.json.encode(request), who))
        assert not outcome.problem, outcome
        return outcome.result

    tokens = {}
    for name in ("ada", "boss", "gone"):
        await does("identity.register", name=name, password=PASSWORD)
        opened = await does("identity.open_session", name=name, password=PASSWORD)
        tokens[name] = opened["access_token"]
    await does("access.claim_administration", tokens["boss"], secret=hall.secret)
    await does(CREATE, tokens["boss"], **BOARD, default_level="write")
    await does(CREATE, tokens["boss"], name="s", direction="ascending", board_id="secret",
               default_level="none")  # fmt: skip
    await does("identity.close_session", tokens["gone"])
    used = Ask(SUBMIT, msgspec.json.encode(SCORE), tokens["ada"], key="used")
    assert not (await ask_https(place, used)).problem
    head, body, mark = tokens["ada"].split(".")
    _, other, _ = tokens["boss"].split(".")
    return {
        **tokens,
        "rubbish": "rubbish",
        "forged": f"{head}.{other}.{mark}",
        "unsigned": f"eyJhbGciOiJub25lIn0.{body}.",
    }


def encode(request: Any) -> bytes:
    return request if isinstance(request, bytes) else msgspec.json.encode(request)


def without(value: Any, names: frozenset[str]) -> Any:
    """Return a result with the members emptied that differ from call to call."""
    if isinstance(value, dict):
        return {
            name: "" if name in names else without(inner, names) for name, inner in value.items()
        }
    return [without(inner, names) for inner in value] if isinstance(value, list) else value


def comparable(row: Row, outcome: Outcome) -> Any:
    """Return what must be the same at each door."""
    if not row.envelope:
        return without(outcome.result, row.fresh), outcome.problem
    return {name: told for name, told in outcome.problem.items() if name != "details"}


def check(row: Row, outcome: Outcome) -> None:
    """Compare an outcome with what was expected."""
    assert outcome.name == row.name, outcome
    if not row.name:
        assert row.told.items() <= outcome.result.items()
        return
    problem = outcome.problem
    assert set(problem) == {"type", "title", "status", "code", "name", "details", "retryable"}
    assert problem["code"] == (row.code or row.name)
    assert row.told.items() <= problem["details"].items()
    if outcome.rpc_code is not None and not row.envelope:
        assert outcome.rpc_code == RPC_CODES.get(row.name, -32000)
    if outcome.rpc_code is not None and row.envelope:
        assert outcome.rpc_code in {-32700, -32600}


@pytest.mark.requirement("R31")
@pytest.mark.requirement("R32")
@pytest.mark.parametrize("told", ROWS)
async def test_the_same_call_gives_the_same_answer_through_each_door(site: Site, told: str) -> None:
    row = ROWS[told]
    body = encode(row.request)
    ask = Ask(row.action, body, site.tokens.get(row.who), row.key, row.deadline_ms)
    sizes = [0, PIECE_SIZE_BYTES if len(body) < 2_000 else 70_000]
    ways = [(door, size) for door in DOORS_ASKED for size in sizes]
    outcomes = [await DOORS_ASKED[door](site.place, ask, size) for door, size in ways]
    for way, outcome in zip(ways, outcomes, strict=True):
        check(row, outcome)
        assert comparable(row, outcome) == comparable(row, outcomes[0]), way


@pytest.mark.requirement("R20")
@pytest.mark.parametrize("door", DOORS_ASKED)
async def test_hidden_and_absent_cannot_be_told_apart(site: Site, door: str) -> None:
    async def ask(board_id: str) -> dict[str, Any]:
        body = msgspec.json.encode({"board_id": board_id})
        return (await DOORS_ASKED[door](site.place, Ask(GET, body, site.tokens["ada"]))).problem

    hidden, absent = await ask("secret"), await ask("absent")
    assert hidden["name"] == DENIED
    assert msgspec.json.encode(hidden).replace(b"secret", b"absent") == msgspec.json.encode(absent)


@pytest.mark.requirement("R31")
@pytest.mark.requirement("R34")
async def test_a_key_is_one_key_at_all_doors(site: Site) -> None:
    """Eight writes at once, by four ways: one deed, one answer."""
    body = msgspec.json.encode({**SCORE, "description": "once"})
    ask = Ask(SUBMIT, body, site.tokens["ada"], key="one-deed")
    outcomes = await asyncio.gather(
        *(way(site.place, ask, size) for way in DOORS_ASKED.values() for size in (0, 7))
    )
    assert len({outcome.result["entry_id"] for outcome in outcomes}) == 1
    assert all(outcome == outcomes[0] for outcome in outcomes)


@pytest.mark.requirement("R31")
@pytest.mark.requirement("R33")
@pytest.mark.parametrize(
    ("action", "request_body"),
    [
        ("feeds.subscribe", {"feed": "board/kart"}),
        ("feeds.unsubscribe", {"feed": "board/kart"}),
        ("identity.authenticate", {"token": ""}),
    ],
)
async def test_what_needs_a_connection_is_refused_where_there_is_none(
    site: Site, action: str, request_body: dict[str, str]
) -> None:
    if "token" in request_body:
        request_body = {"token": site.tokens["ada"]}
    ask = Ask(action, msgspec.json.encode(request_body), site.tokens["ada"])
    refused = await ask_https(site.place, ask)
    assert (refused.name, refused.problem["code"]) == ("connection_needed", "failed_precondition")
    for door in ("websocket", "ndjson"):
        assert (await DOORS_ASKED[door](site.place, ask)).name != "connection_needed", door


@pytest.mark.requirement("R32")
@pytest.mark.parametrize("size_bytes", [1_048_577, 4_000_000])
async def test_what_is_too_large_is_refused_before_it_is_read(site: Site, size_bytes: int) -> None:
    body = msgspec.json.encode({**SCORE, "description": "x" * size_bytes})
    ask = Ask(SUBMIT, body, site.tokens["ada"])
    outcome = await ask_https(site.place, ask)
    assert (outcome.name, outcome.problem["details"]["size_bytes_max"]) == (INVALID, 1_048_576)
    async with speak_lines(site.place) as line:
        await line.send(encode_request(1, ask))
        refusal = await line.read()
        assert (refusal["id"], refusal["error"]["code"]) == (None, -32600)
        assert refusal["error"]["data"]["details"]["size_bytes_max"] == 1_048_576
        assert await read_rest(line) == ["protocol_error"]
    async with speak_socket(site.place) as socket:
        await socket.send(encode_request(1, ask))
        assert await read_rest(socket) == ["protocol_error"]
        assert socket.close_code == 1009


@pytest.mark.requirement("R32")
async def test_what_is_not_utf_8_is_refused(site: Site) -> None:
    """RFC 6455, section 8.1, wants a WebSocket closed for it; elsewhere it is a bad call."""
    ask = Ask(GET, b'{"board_id":"\xff"}', site.tokens["ada"])
    for door in ("https", "ndjson"):
        assert (await DOORS_ASKED[door](site.place, ask)).name == INVALID
    async with speak_socket(site.place) as socket:
        await socket.send(encode_request(1, ask))
        assert await read_rest(socket) == ["protocol_error"]
        assert socket.close_code == 1007
