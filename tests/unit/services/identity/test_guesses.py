"""Several sign-ins of one account in the same moment: they wait for each other, within bounds."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.adapters.guesses import GuessesUnderWay, Turn
from moothall.services.identity.model import LockoutSettings
from moothall.testing import OpenHall, Visitor, open_test_hall
from moothall.testing.hall import PASSWORD, CheapHasher

WRONG = "a wrong password"


class GatedHasher(CheapHasher):
    """Lets no password be looked at before the gate opens, and counts those that were."""

    def __init__(self) -> None:
        self.looked_at = self.waiting = 0
        self.gate, self.all_there = asyncio.Event(), asyncio.Event()
        self.wanted = 0

    async def verify(self, known: str | None, password: str) -> bool:
        self.looked_at += 1
        self.waiting += 1
        if self.waiting == self.wanted:
            self.all_there.set()
        await self.gate.wait()
        return await super().verify(known, password)


def watch(hall: OpenHall, wanted: int = 0) -> GatedHasher:
    """Put a hasher in whose gate is open, unless it is to wait for ``wanted`` guesses."""
    hasher = GatedHasher()
    hasher.wanted = wanted
    if not wanted:
        hasher.gate.set()
    hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index]
    return hasher


async def try_one(hall: OpenHall, password: str, name: str = "alice", at: int = 1) -> str:
    """Sign in and return the name of the problem, or ``done``."""
    fields = {"name": name, "password": password}
    reply = await hall.answer("identity.open_session", fields, source=f"203.0.113.{at}")
    return reply.problem.name if reply.problem else "done"


async def try_all(hall: OpenHall, passwords: Iterable[str], name: str = "alice") -> list[str]:
    return await asyncio.gather(
        *(try_one(hall, password, name, at) for at, password in enumerate(passwords))
    )


def under_way(hall: OpenHall) -> int:
    return len(hall.hall.house.use(GuessesUnderWay))


@pytest.fixture
async def alice(hall: OpenHall) -> AsyncIterator[Visitor]:
    yield await hall.member("alice")
    assert under_way(hall) == 0, "whatever happened, every turn ended"


@pytest.mark.requirement("R7")
@pytest.mark.requirement("R8")
async def test_right_sign_ins_of_one_account_in_one_moment_all_succeed(
    hall: OpenHall, alice: Visitor
) -> None:
    hasher = watch(hall)
    assert await try_all(hall, [PASSWORD] * 20) == ["done"] * 20
    assert hasher.looked_at == 20
    assert await hall.rows("SELECT * FROM identity_lockout") == []


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_burst_of_wrong_ones_has_three_looked_at(
    hall: OpenHall, alice: Visitor, name: str
) -> None:
    hasher = watch(hall)
    told = await try_all(hall, [f"wrong {at}" for at in range(200)], name)
    assert hasher.looked_at == 3
    assert sorted(told) == ["account_locked"] * 197 + ["wrong_credentials"] * 3


@pytest.mark.requirement("R7")
@pytest.mark.requirement("R8")
async def test_one_right_among_those_under_way_lets_the_next_be_looked_at(
    hall: OpenHall, alice: Visitor
) -> None:
    """A success forgives what came before it, as it does when they come one by one."""
    hasher = watch(hall)
    told = await try_all(hall, [WRONG, WRONG, PASSWORD, PASSWORD, WRONG, PASSWORD])
    assert told == [
        "wrong_credentials",
        "wrong_credentials",
        "done",
        "done",
        "wrong_credentials",
        "done",
    ]
    assert hasher.looked_at == 6


@pytest.mark.requirement("R7")
async def test_right_one_behind_three_wrong_ones_is_not_looked_at(
    hall: OpenHall, alice: Visitor
) -> None:
    hasher = watch(hall, wanted=3)
    wrong = asyncio.create_task(try_all(hall, [WRONG] * 3))
    await hasher.all_there.wait()
    right = asyncio.create_task(try_all(hall, [PASSWORD] * 10))
    await asyncio.sleep(0)
    hasher.gate.set()
    assert await wrong == ["wrong_credentials"] * 3
    assert await right == ["account_locked"] * 10
    assert hasher.looked_at == 3
    assert await try_one(hall, PASSWORD) == "account_locked"


@pytest.mark.requirement("R7")
async def test_waiting_for_one_account_delays_nobody_else(hall: OpenHall, alice: Visitor) -> None:
    await hall.member("bob")
    hasher = watch(hall, wanted=3)
    burst = asyncio.create_task(try_all(hall, [PASSWORD] * 10))
    await hasher.all_there.wait()
    watch(hall)
    assert await try_one(hall, PASSWORD, "bob") == "done"
    assert not burst.done()
    hasher.gate.set()
    assert await burst == ["done"] * 10


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("name", ["alice", "nobody"])
@pytest.mark.parametrize("bound", ["waiting_per_account_max", "waiting_max"])
async def test_who_finds_the_queue_full_is_told_locked(
    tmp_path: Path, name: str, bound: str
) -> None:
    async with open_test_hall(tmp_path, tables={"lockout": {bound: 2}}) as hall:
        await hall.member("alice")
        hasher = watch(hall, wanted=3)
        burst = [asyncio.create_task(try_one(hall, PASSWORD, name, at)) for at in range(1, 9)]
        answered: asyncio.Queue[asyncio.Task[str]] = asyncio.Queue()
        for task in burst:
            task.add_done_callback(answered.put_nowait)
        await hasher.all_there.wait()
        for _ in range(3):
            assert (await answered.get()).result() == "account_locked"
        others = [task for task in burst if not task.done()]
        assert len(others) == 5
        hasher.gate.set()
        told = sorted(await asyncio.gather(*others), reverse=True)
        known = ["done"] * 5
        unknown = ["wrong_credentials"] * 3 + ["account_locked"] * 2
        assert told == (known if name == "alice" else unknown)


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_waiting_has_an_end(tmp_path: Path, name: str) -> None:
    async with open_test_hall(tmp_path, tables={"lockout": {"wait_ms_max": 1}}) as hall:
        await hall.member("alice")
        hasher = watch(hall, wanted=3)
        first = asyncio.create_task(try_all(hall, [PASSWORD] * 3, name))
        await hasher.all_there.wait()
        assert await try_one(hall, PASSWORD, name) == "account_locked"
        hasher.gate.set()
        await first
        assert under_way(hall) == 0


@pytest.mark.requirement("R7")
async def test_deadline_of_a_call_ends_its_waiting(hall: OpenHall, alice: Visitor) -> None:
    hasher = watch(hall, wanted=3)
    first = asyncio.create_task(try_all(hall, [PASSWORD] * 3))
    await hasher.all_there.wait()
    fields = {"name": "alice", "password": PASSWORD}
    reply = await hall.answer("identity.open_session", fields, deadline_ms=20)
    assert reply.problem is not None
    assert reply.problem.name == "deadline_exceeded"
    hasher.gate.set()
    assert await first == ["done"] * 3


@pytest.mark.requirement("R7")
async def test_sign_in_waits_for_whoever_changes_something_by_the_same_password(
    hall: OpenHall, alice: Visitor
) -> None:
    """However a guess is made, it is under way for the account."""
    hasher = watch(hall, wanted=3)
    new: dict[str, Any] = {"password": PASSWORD, "new_password": PASSWORD + "!"}
    change = asyncio.create_task(hall.answer("identity.change_password", new, token=alice.token))
    others = asyncio.create_task(try_all(hall, [WRONG, WRONG]))
    await hasher.all_there.wait()
    late = asyncio.create_task(try_one(hall, PASSWORD + "!"))
    hasher.gate.set()
    assert (await change).problem is None
    assert await others == ["wrong_credentials"] * 2
    assert await late == "done"


@pytest.mark.requirement("R7")
async def test_turn_that_is_cut_off_before_its_commit_never_begins() -> None:
    guesses = GuessesUnderWay(LockoutSettings())
    turn = Turn(guesses, 1_000)
    turn.end()
    turn.begin("alice")
    assert len(guesses) == 0


@pytest.mark.requirement("R7")
async def test_nobody_waits_where_nothing_is_under_way_or_for_ever() -> None:
    guesses = GuessesUnderWay(LockoutSettings())
    assert not await Turn(guesses, 1_000).wait("alice", "a series")
    first, second = Turn(guesses, 1_000), Turn(guesses, 1_000)
    first.begin("alice")
    second.begin("alice")
    waiting = [
        asyncio.create_task(Turn(guesses, 30_000).wait("alice", "a series")) for _ in range(4)
    ]
    await asyncio.sleep(0)
    waiting[0].cancel()
    first.end()  # wakes the first one, who has just given up
    await asyncio.sleep(0)
    second.end()
    assert await asyncio.gather(*waiting[1:]) == [True] * 3
    assert len(guesses) == 0


@pytest.mark.requirement("R7")
async def test_few_of_one_account_wait_for_what_another_node_answers() -> None:
    guesses = GuessesUnderWay(LockoutSettings(waiting_per_account_max=2), is_shared=True)

    def wait(name: str, turn: int) -> asyncio.Task[bool]:
        return asyncio.create_task(Turn(guesses, 30_000).wait(name, f"{name}'s series {turn}"))

    for turn in range(2):  # whoever has waited leaves their place
        waiting = [wait("alice", turn) for _ in range(5)]
        await asyncio.sleep(0)
        assert [task.done() for task in waiting] == [False] * 2 + [True] * 3
        other = wait("bob", turn)
        await asyncio.sleep(0)
        assert not other.done(), "another account has places of its own"
        assert guesses.waiting == 3
        assert await asyncio.gather(*waiting, other) == [True] * 2 + [False] * 3 + [True]
        assert guesses.waiting == 0


@pytest.mark.requirement("R7")
async def test_an_answer_that_came_while_the_lock_was_read_counts() -> None:
    """The server takes its time: the lock that it tells of may be lifted when it is heard."""
    guesses = GuessesUnderWay(LockoutSettings(), is_shared=True)
    guess, other = Turn(guesses, 1_000), Turn(guesses, 1_000)
    guess.begin("alice")
    guess.note_lock("a series")
    guess.end()
    assert await other.wait("alice", "a series")
    assert not await other.wait("alice", "a series"), "nothing came since"


@pytest.mark.requirement("R7")
async def test_who_is_cut_off_before_the_answer_is_not_locked_out(
    hall: OpenHall, alice: Visitor
) -> None:
    """A deadline that is too short costs no guess; one that was answered costs as ever."""
    watch(hall, wanted=100)  # nobody is ever answered
    fields = {"name": alice.name, "password": PASSWORD}
    for _ in range(4):
        reply = await hall.answer("identity.open_session", fields, deadline_ms=20)
        assert reply.problem is not None
        assert reply.problem.name == "deadline_exceeded"
    watch(hall)
    assert await try_all(hall, ["wrong"] * 2) == ["wrong_credentials"] * 2
    assert await try_one(hall, PASSWORD) == "done"
