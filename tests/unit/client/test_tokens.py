"""Tokens for resource servers: from the identity server, renewed, and used on while it is away."""

import asyncio
import json
from dataclasses import replace
from typing import Any, Self

import httpx
import pytest

from moothall.client import (
    CallError,
    CallTimeoutError,
    Hall,
    HallUnreachableError,
    IssuedTokens,
    Limits,
    MemoryStore,
    SessionElsewhereError,
)
from tests.unit.client.line_hall import URLS, LineHall, Talk
from tests.unit.client.stub_hall import (
    LIFETIME_MS,
    ManualTime,
    StubHall,
    problem,
    tokens,
)

HOME = "https://home.example:8443"
BOARDS = "https://boards.example:8443"
AWAY = httpx.ConnectError("refused")
READ = "leaderboards.get_rank"


class Pair:
    """An identity server and a resource server, and a client that is signed in at the first."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.time = ManualTime()
        self.home = StubHall(script=self._issue)
        self.boards = StubHall(script=self._serve)
        self.limits = limits or Limits(retries=2)
        self.failure: httpx.Response | Exception | None = None
        self.refused: set[str] = set()
        self.identity = Hall(
            HOME, world=self.time.world(self.home), limits=self.limits, store=MemoryStore()
        )
        self.issued = IssuedTokens(self.identity, BOARDS, world=self.time.world(self.home))
        self.client = Hall(
            BOARDS, world=self.time.world(self.boards), limits=self.limits, tokens=self.issued
        )

    async def __aenter__(self) -> Self:
        await self.identity.sign_in("ann", "secret")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.identity.close()

    @property
    def asked(self) -> list[Any]:
        """What tokens were asked for."""
        paths = [request.url.path for request in self.home.requests]
        bodies = self.home.bodies()
        asked = zip(paths, bodies, strict=True)
        return [body for path, body in asked if path == "/v1/identity.issue_token"]

    @property
    def shown(self) -> list[str | None]:
        """The tokens that the resource server was shown."""
        return self.boards.headers("authorization")

    async def read(self, **options: Any) -> Any:
        return await self.client.call(READ, {"board_id": "7"}, effect="read", **options)

    def _issue(self, request: httpx.Request) -> httpx.Response | Exception:
        if self.failure is not None:
            return self.failure
        now_ms = self.time.now_ms()
        if request.url.path.endswith("refresh_session"):
            self.home.generation += 1
            return httpx.Response(200, json=tokens(self.home.generation, now_ms=now_ms))
        asked = json.loads(request.content)
        if not request.url.path.endswith("issue_token"):
            return httpx.Response(200, json={})
        token = f"{asked['audience']}#{len(self.asked)}"
        expires = {"access_token": token, "access_expires_at_ms": now_ms + LIFETIME_MS}
        return httpx.Response(200, json={**asked, **expires})

    def _serve(self, request: httpx.Request) -> httpx.Response:
        if request.headers.get("authorization") in {f"Bearer {one}" for one in self.refused}:
            return problem("unauthenticated", status=401, retryable=False)
        return httpx.Response(200, json={"rank": 1})


@pytest.mark.requirement("R4")
async def test_parallel_calls_ask_for_one_token_and_for_the_address_itself() -> None:
    async with Pair() as pair:
        await asyncio.gather(*(pair.read() for _ in range(20)))
        assert pair.asked == [{"audience": BOARDS}]
        assert pair.shown == [f"Bearer {BOARDS}#1"] * 20


@pytest.mark.requirement("R4")
async def test_token_is_renewed_before_its_end_and_the_session_behind_it_too() -> None:
    async with Pair() as pair:
        await pair.read()
        pair.time.seconds = 269
        await pair.read()
        pair.time.seconds = 271
        await pair.read()
        assert pair.shown == [f"Bearer {BOARDS}#1"] * 2 + [f"Bearer {BOARDS}#2"]
        assert pair.home.generation == 2


@pytest.mark.requirement("R4")
async def test_refused_token_is_renewed_once() -> None:
    async with Pair() as pair:
        await pair.read()
        pair.refused = {f"{BOARDS}#1"}
        assert await pair.read() == {"rank": 1}
        pair.refused = {f"{BOARDS}#2", f"{BOARDS}#3"}
        with pytest.raises(CallError) as caught:
            await pair.read()
        assert caught.value.error_name == "unauthenticated"
        assert len(pair.asked) == 3


@pytest.mark.requirement("R3")
@pytest.mark.requirement("R4")
@pytest.mark.parametrize("failure", [AWAY, problem(), problem("deadline_exceeded")])
async def test_valid_token_is_used_on_while_the_identity_server_is_away(
    failure: httpx.Response | Exception,
) -> None:
    async with Pair(Limits(retries=0)) as pair:
        await pair.read()
        pair.failure, pair.time.seconds = failure, 280
        for _ in range(5):
            await pair.read()
        tried = len(pair.home.requests)
        pair.time.seconds = 299
        await pair.read()
        assert pair.shown == [f"Bearer {BOARDS}#1"] * 7
        # Not every call waits for a server that was away a moment ago.
        assert (tried, len(pair.home.requests)) == (2, 3)
        pair.failure = None
        pair.time.seconds = 301
        await pair.read()
        assert pair.shown[-1] == f"Bearer {BOARDS}#2"


@pytest.mark.requirement("R4")
async def test_error_names_the_identity_server_that_is_away() -> None:
    async with Pair() as pair:
        await pair.read()
        pair.failure, pair.time.seconds = AWAY, 301
        with pytest.raises(HallUnreachableError) as caught:
            await pair.read()
        assert HOME in str(caught.value)
        assert BOARDS in str(caught.value)
        assert HOME in caught.value.remedy
        assert not caught.value.outcome_unknown
        assert len(pair.shown) == 1


@pytest.mark.requirement("R4")
async def test_session_that_is_over_is_told_with_its_server_and_asked_for_no_more() -> None:
    async with Pair() as pair:
        await pair.read()
        pair.failure = problem("unauthenticated", status=401, retryable=False, name="session_ended")
        pair.time.seconds = 301
        with pytest.raises(CallError) as caught:
            await pair.read()
        assert caught.value.error_name == "session_ended"
        assert caught.value.details["identity_server"] == HOME
        asked = len(pair.home.requests)
        await pair.read()
        assert pair.shown == [f"Bearer {BOARDS}#1", None]
        assert len(pair.home.requests) == asked


async def test_token_of_an_ended_session_is_not_used() -> None:
    async with Pair() as pair:
        await pair.read()
        await pair.identity.sign_out()
        await pair.read()
        assert pair.shown == [f"Bearer {BOARDS}#1", None]


@pytest.mark.requirement("R15")
async def test_no_password_goes_to_a_resource_server() -> None:
    async with Pair() as pair:
        deeds = (
            pair.client.sign_in("ann", "secret"),
            pair.client.register("ann", "secret"),
            pair.client.sign_in_guest(),
            pair.client.get_registration(),
            pair.client.sign_out(),
            pair.client.issue_token(BOARDS),
        )
        for deed in deeds:
            with pytest.raises(SessionElsewhereError):
                await deed
        assert pair.boards.requests == pair.boards.sign_ins == []


@pytest.mark.requirement("R113")
async def test_time_limit_holds_for_the_token_too() -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with Pair(Limits(timeout_ms=2_000, retries=0)) as pair:
        world = replace(pair.time.world(pair.home), transport=httpx.MockTransport(hang))
        store = MemoryStore(pair.identity.session)
        async with Hall(HOME, world=world, limits=pair.limits, store=store) as silent:
            issued = IssuedTokens(silent, BOARDS, world=world)
            world = pair.time.world(pair.boards)
            async with Hall(BOARDS, world=world, limits=pair.limits, tokens=issued) as client:
                with pytest.raises(CallTimeoutError) as caught:
                    await client.call(READ, {"board_id": "7"}, effect="read")
        # Who waits in vain learns for whom: that server, and not the one that was not asked.
        assert HOME in str(caught.value)
        assert pair.boards.requests == []


@pytest.mark.requirement("R113")
async def test_client_is_closed_while_a_token_is_asked_for() -> None:
    asked = asyncio.Event()

    async def hang(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with Pair() as pair:
        world = replace(pair.time.world(pair.home), transport=httpx.MockTransport(hang))
        silent = Hall(HOME, world=world, store=MemoryStore(pair.identity.session))
        issued = IssuedTokens(silent, BOARDS, world=world, is_owner=True)
        client = Hall(BOARDS, world=pair.time.world(pair.boards), tokens=issued)
        call = asyncio.create_task(client.call(READ, {"board_id": "7"}, effect="read"))
        await asked.wait()
        await client.close()
        with pytest.raises(HallUnreachableError, match="closed"):
            await call


@pytest.mark.requirement("R113")
async def test_retries_hold_for_the_token_too() -> None:
    async with Pair(Limits(retries=3)) as pair:
        pair.failure = problem()
        with pytest.raises(CallError):
            await pair.read()
        assert len(pair.asked) == 4


@pytest.mark.requirement("R4")
@pytest.mark.parametrize("door", URLS)
async def test_lines_are_signed_and_renewed_in_place(door: str) -> None:
    async with Pair() as pair, LineHall() as hall:
        issued = IssuedTokens(pair.identity, BOARDS, world=hall.world())
        async with hall.client(URLS[door], is_signed=False, tokens=issued) as client:
            for _ in range(7):
                await client.call(READ, {"board_id": "7"})
                pair.time.seconds += 40
                hall.time.advance(40)
            await hall.until(lambda: len(hall.named("identity.authenticate")) == 2)
        shown = [one["params"]["token"] for one in hall.named("identity.authenticate")]
        assert shown == [f"{BOARDS}#1", f"{BOARDS}#2"]
        assert len(hall.talks) == 1


@pytest.mark.requirement("R4")
async def test_feed_goes_on_with_a_new_token() -> None:
    async with Pair() as pair, LineHall(welcome) as hall:
        issued = IssuedTokens(pair.identity, BOARDS, world=hall.world())
        async with (
            hall.client(URLS["ndjson"], is_signed=False, tokens=issued) as client,
            client.follow("board/kart", after="now"),
        ):
            (talk,) = hall.talks
            for count in range(1, 8):
                pair.time.seconds += 40
                hall.time.advance(40)
                talk.notify("heartbeat")
                await heard(hall, talk, "hall.ping", count)
            await heard(hall, talk, "identity.authenticate", 2)
        shown = [one["params"]["token"] for one in talk.named("identity.authenticate")]
        assert shown == [f"{BOARDS}#1", f"{BOARDS}#2"]


async def heard(hall: LineHall, talk: Talk, method: str, count: int) -> None:
    await hall.until(lambda: len(talk.named(method)) == count)


def welcome(talk: Talk, message: dict[str, Any]) -> None:
    talk.answer(message, {"feed": "board/kart", "cursor": "e.0"})
