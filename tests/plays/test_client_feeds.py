"""The SDK at all three doors of a real hall: the same calls, and feeds across a crash."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from moothall.client import CallError, Hall, SessionEndedError, SyncHall
from tests.plays.conftest import (
    PASSWORD,
    PROGRAM,
    NewPerson,
    RunningHall,
    StartHall,
)

DOORS = ("https", "wss", "ndjson")
GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "follow-what-happens.md"

_TIMEOUT_S = 30


def address(hall: RunningHall, door: str) -> str:
    if door == "ndjson":
        found = re.search(r"ndjson://\S+", hall.banner)
        assert found is not None
        return found[0]
    return hall.url.replace("https", door)


def connect(hall: RunningHall, door: str) -> Hall:
    return Hall(
        address(hall, door),
        fingerprint=hall.fingerprint,
        https_port=hall.port if door == "ndjson" else None,
    )


async def make_board(hall: RunningHall, board_id: str) -> None:
    """Let the first administrator make a board, and everybody a submitter."""
    async with connect(hall, "https") as boss:
        await boss.register("boss", PASSWORD)
        await boss.sign_in("boss", PASSWORD)
        await boss.access.claim_administration(secret=hall.secret)
        await boss.leaderboards.create_board(
            board_id=board_id, name=board_id, direction="ascending"
        )


def start_again(start_hall: StartHall, hall: RunningHall) -> None:
    """Kill a hall and start it again where it was."""
    hall.kill()
    ndjson_port = address(hall, "ndjson").rpartition(":")[2]
    again = start_hall(hall.folder.name, "--ndjson-port", ndjson_port, port=hall.port)
    assert again.fingerprint == hall.fingerprint


async def tell(hall: Hall, action: str, request: dict[str, Any]) -> Any:
    """Return result or problem of a call, without what differs each time."""
    try:
        return await hall.call(action, request)
    except CallError as error:
        answer = error.answer
        return (answer.status, answer.code, answer.name, answer.title, answer.details)


@pytest.mark.requirement("R31")
async def test_every_door_gives_the_same_answers(start_hall: StartHall) -> None:
    hall = start_hall()
    await make_board(hall, "kart")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("identity.get_self", {}),
        ("leaderboards.get_board", {"board_id": "kart"}),
        ("leaderboards.get_board", {"board_id": "none"}),
        ("leaderboards.get_board", {}),
        ("leaderboards.get_board", {"board_id": 7}),
        ("leaderboards.get_board", {"board_id": "kart", "unknown": 1}),
        ("leaderboards.list_entries", {"board_id": "kart"}),
        ("leaderboards.bord", {}),
        ("access.list_audit", {"limit": 0}),
        ("hall.nothing", {}),
    ]
    told = {}
    for door in DOORS:
        async with connect(hall, door) as client:
            await client.sign_in("boss", PASSWORD)
            told[door] = [await tell(client, action, request) for action, request in calls]
            async with asyncio.timeout(_TIMEOUT_S):
                await asyncio.gather(*(client.hall.ping() for _ in range(200)))
    assert told["https"] == told["wss"] == told["ndjson"]
    assert told["https"][1]["board_id"] == "kart"
    assert told["https"][2][2] == "board_not_found"


@pytest.mark.requirement("R33")
@pytest.mark.parametrize("door", DOORS)
async def test_board_is_followed_live_and_across_a_crash(start_hall: StartHall, door: str) -> None:
    hall = start_hall()
    await make_board(hall, "kart")
    breaks: list[str] = []
    async with connect(hall, door) as boss, connect(hall, door) as bob:
        await boss.sign_in("boss", PASSWORD)
        await bob.register("bob", PASSWORD)
        await boss.access.grant_role(member="bob", role="board_writer", at="board/kart")
        await bob.sign_in("bob", PASSWORD)
        feed = boss.follow("board/kart/moderation", on_break=lambda why, _: breaks.append(why))
        async with feed, asyncio.timeout(_TIMEOUT_S):
            seen = []
            for score in range(5):
                await bob.leaderboards.submit_score(board_id="kart", score=score)
                seen.append(await anext(feed))
            start_again(start_hall, hall)
            for score in range(5, 10):
                await bob.leaderboards.submit_score(board_id="kart", score=score)
            seen += [await anext(feed) for _ in range(5)]
    assert breaks
    assert [one.data["score"] for one in seen] == list(range(10))
    assert [one.seq for one in seen] == list(range(seen[0].seq, seen[0].seq + 10))


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("door", DOORS)
async def test_feed_of_an_ended_session_says_so(start_hall: StartHall, door: str) -> None:
    hall = start_hall()
    await make_board(hall, "kart")
    async with connect(hall, door) as boss, connect(hall, "https") as elsewhere:
        session = await boss.sign_in("boss", PASSWORD)
        await elsewhere.sign_in("boss", PASSWORD)
        async with asyncio.timeout(_TIMEOUT_S), boss.follow("board/kart") as feed:
            await elsewhere.identity.revoke_session(session_id=session.session_id)
            with pytest.raises(SessionEndedError):
                await anext(feed)


async def test_second_session_of_a_device_goes_on_where_the_first_was(
    start_hall: StartHall,
) -> None:
    hall = start_hall()
    await make_board(hall, "kart")
    for first in (0, 2):
        async with connect(hall, "wss") as boss:
            await boss.sign_in("boss", PASSWORD, device="desk")
            async with asyncio.timeout(_TIMEOUT_S), boss.follow("board/kart/moderation") as feed:
                if first == 0:
                    for score in range(4):
                        await boss.leaderboards.submit_score(board_id="kart", score=score)
                seen = [await anext(feed) for _ in range(2)]
                await feed.acknowledge()
        assert [one.data["score"] for one in seen] == [first, first + 1]


def test_frame_loop_polls_calls_and_events(start_hall: StartHall) -> None:
    hall = start_hall()
    asyncio.run(make_board(hall, "kart"))
    with SyncHall(address(hall, "wss"), fingerprint=hall.fingerprint) as game:
        game.sign_in("boss", PASSWORD)
        feed = game.follow("board/kart/moderation")
        feed.open()
        pending = game.start("leaderboards.submit_score", {"board_id": "kart", "score": 12.5})
        events = feed.wait(_TIMEOUT_S)
        assert pending.wait(_TIMEOUT_S)["score"] == 12.5
    assert [one.data["score"] for one in events] == [12.5]


@pytest.mark.requirement("R40")
def test_command_follows_a_board_across_a_crash(
    start_hall: StartHall, new_person: NewPerson
) -> None:
    hall = start_hall()
    asyncio.run(make_board(hall, "kart"))
    boss = new_person()
    boss.meets(hall)
    boss.does("login", "boss", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert "subscribe" not in boss.does("feed", "--help")
    words = ("feed", "follow", "board/kart/moderation", "--json", "--count", "2")
    following = subprocess.Popen(
        [*PROGRAM, *words, "--after", asyncio.run(find_now(hall))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=boss.environment(),
    )
    assert following.stdout is not None
    boss.does("score", "submit", "kart", "1")
    first = json.loads(following.stdout.readline())
    start_again(start_hall, hall)
    boss.does("score", "submit", "kart", "2")
    rest, said = following.communicate(timeout=_TIMEOUT_S)
    assert following.returncode == 0, said
    assert [first["data"]["score"], json.loads(rest)["data"]["score"]] == [1, 2]
    assert "trying again" in said
    shown = boss.does("feed", "follow", *words[2:3], "--after", first["cursor"], "--count", "1")
    assert "leaderboards.score_submitted" in shown


async def find_now(hall: RunningHall) -> str:
    """Return the cursor of this moment."""
    async with connect(hall, "wss") as boss:
        await boss.sign_in("boss", PASSWORD)
        async with asyncio.timeout(_TIMEOUT_S), boss.follow("board/kart/moderation") as feed:
            assert feed.cursor is not None
            return feed.cursor


def test_programs_of_the_guide_run(start_hall: StartHall, new_person: NewPerson) -> None:
    hall = start_hall()
    asyncio.run(make_board(hall, "kart"))
    boss = new_person()
    boss.meets(hall)
    boss.does("login", "boss", "--password-stdin", stdin=f"{PASSWORD}\n")
    follow, game = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    game = game.replace("wss://127.0.0.1:8443", address(hall, "wss"))
    game = game.replace("sha256:...", hall.fingerprint).replace("ann", "boss")
    game = game.replace("the password", PASSWORD)
    played = subprocess.run(
        [sys.executable, "-c", game], capture_output=True, text=True, timeout=60, check=False
    )
    assert played.stdout.splitlines() == ["sent 128.99", "seen 128.99"], played.stderr
    follow = follow.replace('"board/kart"', '"board/kart/moderation", after="CURSOR"')
    follow = follow.replace("CURSOR", asyncio.run(find_now(hall)))
    following = subprocess.Popen(
        [sys.executable, "-c", follow],
        stdout=subprocess.PIPE,
        text=True,
        env=boss.environment(),
    )
    assert following.stdout is not None
    try:
        boss.does("score", "submit", "kart", "7")
        assert following.stdout.readline().startswith("leaderboards.score_submitted 2 {")
    finally:
        following.kill()
        following.communicate()
