"""One identity server and two resource servers: three processes, three folders, one login."""

import asyncio
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from moothall.client import CallError, Hall
from moothall.client.address import parse_address
from moothall.client.line import Line
from moothall.client.retry import Limits
from moothall.client.tokens import IssuedTokens
from moothall.client.trust import Pin, TrustFinder, connect
from moothall.client.wire import open_wire
from moothall.client.world import World
from tests.plays.conftest import PASSWORD, RunningHall, free_port

SOON_SECONDS = 1.0
"""Within which what ends at the identity server ends everywhere (R5)."""

LATER_SECONDS = 20.0
"""For what only must come at all, on a busy machine."""


class Scene:
    """The three servers; each keeps its folder and its port when it is started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports: dict[str, int] = {}
        self.running: dict[str, RunningHall] = {}
        self.stopped: set[str] = set()
        self._fingerprint = ""

    @property
    def home(self) -> RunningHall:
        return self.running["home"]

    def start(self, name: str) -> RunningHall:
        port = self._ports.setdefault(name, free_port())
        options = ["--ndjson-port", "0", "--rooms", "identity" if name == "home" else "hall"]
        if name == "home":
            options += ["--set", "keys.publish_ahead_ms=2000"]
        else:
            options += ["--issuer", f"https://127.0.0.1:{self._ports['home']}"]
            options += ["--issuer-fingerprint", self._fingerprint]
        self.running[name] = RunningHall(self._folder / name, *options, port=port)
        self.stopped.discard(name)
        if name == "home":
            self._fingerprint = self.home.fingerprint
        return self.running[name]

    def stop(self, name: str) -> None:
        self.running[name].stop()
        self.stopped.add(name)

    def server_key(self, name: str) -> str:
        found = re.search(r"audience add \S+ --server-key (\S+)", self.running[name].banner)
        assert found is not None, self.running[name].banner
        return found[1]

    def log(self, name: str) -> list[dict[str, Any]]:
        lines = (self._folder / f"{name}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @asynccontextmanager
    async def at_home(self, name: str | None = None) -> AsyncIterator[Hall]:
        """Be a member at the identity server; a new one each time."""
        async with Hall(self.home.url, fingerprint=self._fingerprint) as hall:
            if name is not None:
                await hall.register(name, PASSWORD)
                await hall.sign_in(name, PASSWORD)
            yield hall

    @asynccontextmanager
    async def at(self, name: str, home: Hall, door: str = "https") -> AsyncIterator[Hall]:
        """Be at a resource server with the session that ``home`` has."""
        there = self.running[name]
        url = there.url.replace("https", door)
        tokens = IssuedTokens(home, there.url)
        async with Hall(url, fingerprint=there.fingerprint, tokens=tokens) as hall:
            yield hall

    async def register_servers(self) -> None:
        """Let the first administrator register both resource servers, and then leave."""
        async with self.at_home("boss") as boss:
            await boss.call("access.claim_administration", {"secret": self.home.secret})
            for name in ("boards", "shop"):
                asked = {
                    "audience": self.running[name].url,
                    "server_key": self.server_key(name),
                }
                await boss.call("identity.add_audience", asked)
        for name in ("boards", "shop"):
            # Whoever was refused asks again after half a minute; a new start asks at once.
            self.stop(name)
            self.start(name)
            await becomes(partial(self.follows, name), LATER_SECONDS)

    async def follows(self, name: str) -> bool:
        """Tell whether a resource server has been let in to follow the identity server."""
        await asyncio.sleep(0)
        return any(line["event"] == "following the issuer" for line in self.log(name))

    async def distrusts(self, name: str) -> bool:
        """Tell whether a resource server was shown another certificate than the pinned one."""
        await asyncio.sleep(0)
        return any("another certificate" in str(line.get("reason")) for line in self.log(name))


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory,
    engine: str,  # on each engine its own
) -> Iterator[Scene]:
    """All three, which the tests of this file share: starting them takes longer than the tests."""
    made = Scene(tmp_path_factory.mktemp("servers"))
    try:
        for name in ("home", "boards", "shop"):
            made.start(name)
        asyncio.run(made.register_servers())
        yield made
    finally:
        for hall in made.running.values():
            hall.stop()


@pytest.fixture
def scene(servers: Scene) -> Scene:
    """All three, running."""
    for name in sorted(servers.stopped, key="home".__ne__):
        servers.start(name)
    return servers


async def becomes(condition: Callable[[], Awaitable[object]], seconds: float) -> None:
    """Ask again and again until something is so: nobody tells when it is."""
    async with asyncio.timeout(seconds):
        while not await condition():
            pass


@pytest.mark.requirement("R2", "R3", "R11")
async def test_one_login_for_both_and_a_token_of_one_opens_nothing_else(scene: Scene) -> None:
    async with (
        scene.at_home("ann") as home,
        scene.at("boards", home) as boards,
        scene.at("shop", home) as shop,
    ):
        ann = home.session
        assert ann is not None
        for there in (boards, shop):
            assert (await there.call("identity.get_self"))["member_id"] == ann.member_id
        for name, other in (("boards", "shop"), ("shop", "boards"), ("boards", "home")):
            issued = await home.issue_token(scene.running[name].url)
            assert not await takes(scene.running[name], issued.access_token)
            assert await takes(scene.running[other], issued.access_token) == "unauthenticated"
        assert await takes(scene.running["boards"], ann.access_token) == "unauthenticated"

        # Each has a first administrator of its own, who is nobody elsewhere.
        secret = {"secret": scene.running["boards"].secret}
        with pytest.raises(CallError, match=r"."):
            await shop.call("access.claim_administration", secret)
        await boards.call("access.claim_administration", secret)
        for there, expected in ((boards, True), (shop, False), (home, False)):
            check = await there.call("access.check", {"permission": "hall:shutdown"})
            assert check["is_allowed"] is expected


async def takes(server: RunningHall, token: str) -> str:
    """Return the name of the problem that a server has with a token; empty if it takes it."""

    class Given:
        session = None
        fresh_s = 60.0

        async def access_token(self, rejected: str | None = None) -> str | None:
            return None if rejected else token

        async def close(self) -> None:
            pass

    async with Hall(server.url, fingerprint=server.fingerprint, tokens=Given()) as hall:
        try:
            # Said here, so that each of many questions need not ask what the action does.
            await hall.call("identity.get_self", effect="read")
        except CallError as error:
            return error.error_name
    return ""


@pytest.mark.requirement("R3")
async def test_keys_rotate_while_all_run_and_no_valid_call_is_refused(scene: Scene) -> None:
    async with scene.at_home() as boss, scene.at_home("kay") as home:
        await boss.sign_in("boss", PASSWORD)
        rotated = await boss.call("identity.rotate_keys")
        boards = scene.running["boards"]
        issued = await home.issue_token(boards.url)
        kids = {kid_of(issued.access_token)}
        async with asyncio.timeout(LATER_SECONDS):
            while rotated["kid"] not in kids:
                issued = await home.issue_token(boards.url)
                kids.add(kid_of(issued.access_token))
                assert not await takes(boards, issued.access_token)
        assert len(kids) == 2, "it was used before and after"
        # A retired key is refused at once, at both, though the token would live for minutes.
        for_shop = await home.issue_token(scene.running["shop"].url)
        assert not await takes(scene.running["shop"], for_shop.access_token)
        await boss.call("identity.retire_key", {"kid": rotated["kid"]})
        for name, token in (("boards", issued), ("shop", for_shop)):
            server, text = scene.running[name], token.access_token
            await becomes(partial(takes, server, text), SOON_SECONDS)
        # And the key that signs now is taken.
        async with scene.at("boards", home) as there:
            await there.call("identity.get_self")


def kid_of(token: str) -> str:
    header = token.partition(".")[0]
    return str(json.loads(urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


@pytest.mark.requirement("R5", "R16")
async def test_who_signs_out_or_is_revoked_or_removed_is_out_everywhere_within_a_second(
    scene: Scene,
) -> None:
    async with scene.at_home() as boss:
        await boss.sign_in("boss", PASSWORD)

        async def sign_out(home: Hall) -> None:
            await home.sign_out()

        async def revoke(_home: Hall) -> None:
            await boss.call("identity.revoke_sessions_of", {"member": "revoke"})

        async def remove(_home: Hall) -> None:
            await boss.call("identity.remove_member", {"member": "remove"})

        for end in (sign_out, revoke, remove):
            name = end.__name__.replace("_", "-")
            async with (
                scene.at_home(name) as home,
                Follower(scene, "boards", home, "wss") as one,
                Follower(scene, "shop", home, "ndjson") as two,
            ):
                await end(home)
                async with asyncio.timeout(SOON_SECONDS):
                    for line in (one, two):
                        assert await line.closed() == "session_ended"
                for line in (one, two):
                    assert await takes(line.server, line.token) == "unauthenticated"
        async with scene.at("boards", boss) as there:
            found = await there.call("identity.list_members")
            assert "remove" not in [one["name"] for one in found["members"]]


class Follower:
    """A connection that stays at a resource server, by its bare wire."""

    def __init__(self, scene: Scene, name: str, home: Hall, door: str) -> None:
        self.server = scene.running[name]
        self._home, self._door = home, door
        self.token = ""

    async def __aenter__(self) -> Self:
        self.token = (await self._home.issue_token(self.server.url)).access_token
        port = self.server.port if self._door == "wss" else self.server.ndjson_port
        address = parse_address(f"{self._door}://127.0.0.1:{port}")
        wire = await open_wire(
            address,
            TrustFinder(Pin(fingerprint=self.server.fingerprint), connect),
            connect,
            message_bytes_max=1_048_576,
            timeout_s=10,
        )
        self._line = Line(address.url, wire, Limits(), World(), lambda _notice: None)
        await self._line.authenticate(self.token, 10)
        answer = await self._line.call("identity.get_self", b"{}", timeout_s=10)
        assert answer.status == 200, answer
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._line.close()

    async def closed(self) -> str:
        """Return why the server ended the connection, once it has."""
        return (await asyncio.shield(self._line.over)).reason


@pytest.mark.requirement("R3", "R5")
async def test_without_the_identity_server_the_others_go_on_also_after_a_restart(
    scene: Scene,
) -> None:
    async with scene.at_home("ada") as home, scene.at_home("bob") as elsewhere:
        ann, bob = [
            (await one.issue_token(scene.running["boards"].url)).access_token
            for one in (home, elsewhere)
        ]
        boards = scene.running["boards"]
        assert not await takes(boards, ann)
        assert not await takes(boards, bob)
        await elsewhere.sign_out()
        await becomes(lambda: takes(boards, bob), SOON_SECONDS)

        scene.stop("home")
        assert not await takes(boards, ann)
        scene.stop("boards")
        boards = scene.start("boards")
        assert not await takes(boards, ann)
        assert await takes(boards, bob) == "unauthenticated", "a restart forgives nothing"

        # Cut off, it learns of nothing; when the identity server is back, of everything.
        scene.stop("boards")
        scene.start("home")
        async with scene.at_home() as again:
            await again.sign_in("ada", PASSWORD)
            await again.call("identity.close_other_sessions")
        boards = scene.start("boards")
        await becomes(lambda: takes(boards, ann), LATER_SECONDS)


@pytest.mark.requirement("R15")
async def test_a_false_identity_server_is_sent_nothing(scene: Scene, tmp_path: Path) -> None:
    async with scene.at_home("fay") as home:
        ann = (await home.issue_token(scene.running["boards"].url)).access_token
        assert not await takes(scene.running["boards"], ann)
    port = scene.home.port
    scene.stop("home")
    false = RunningHall(tmp_path / "false", "--ndjson-port", "0", "--rooms", "identity", port=port)
    try:
        await becomes(lambda: scene.distrusts("boards"), LATER_SECONDS)
        scene.stop("boards")
        boards = scene.start("boards")
        assert not await takes(boards, ann), "it goes on with the keys that it has"
        # The false server's own log shows nobody who came further than the handshake.
        async with Hall(false.url, fingerprint=false.fingerprint) as thief:
            await thief.register("thief", PASSWORD)
            await thief.sign_in("thief", PASSWORD)
            await thief.call("access.claim_administration", {"secret": false.secret})
            trail = await thief.call("access.list_audit", {"limit": 500})
            assert "identity.open_server_session" not in [row["action"] for row in trail["entries"]]
    finally:
        false.stop()


def test_a_resource_server_that_never_reached_its_issuer_does_not_start(tmp_path: Path) -> None:
    options = ("--issuer", f"https://127.0.0.1:{free_port()}", "--rooms", "hall")
    with pytest.raises(pytest.fail.Exception, match="was never reached"):
        RunningHall(tmp_path / "boards", *options, port=free_port())
