"""Wrong passwords in a row: never more looked at than allowed, whatever is tried."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from moothall.action.call import Reply
from moothall.core.errors import OverloadedError
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.adapters.lockout import LockWatch, UnknownNames
from moothall.services.identity.model import Guesses, LockoutSettings
from moothall.services.identity.rules.lockout import count_guess, lock_left_ms
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall
from moothall.testing.hall import CheapHasher

PASSWORD = "correct horse battery staple"
WRONG = "a wrong password"
DURATION_MS = 60_000


class CountingHasher(CheapHasher):
    """Counts how often a password is looked at; each look takes a turn of the loop."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.is_full = False
        self.hashed = 0

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return await super().hash(password)

    async def verify(self, known: str | None, password: str) -> bool:
        if self.is_full:
            raise OverloadedError("too many people are signing in", retry_after_ms=1_000)
        self.looked_at += 1
        await asyncio.sleep(0)
        return known is not None and known == await super().hash(password)


def count_looks(hall: OpenHall) -> CountingHasher:
    hasher = CountingHasher()
    hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index]
    return hasher


async def guess(hall: OpenHall, name: str = "alice", password: str = WRONG) -> str:
    """Sign in and return the name of the problem, or 'done'."""
    reply = await try_guess(hall, name, password)
    return reply.problem.name if reply.problem else "done"


async def try_guess(hall: OpenHall, name: str = "alice", password: str = WRONG) -> Reply:
    return await hall.answer("identity.open_session", {"name": name, "password": password})


async def lock(hall: OpenHall, name: str = "alice") -> None:
    assert [await guess(hall, name) for _ in range(3)] == ["wrong_credentials"] * 3


@pytest.fixture
async def alice(hall: OpenHall) -> Visitor:
    return await hall.member("alice")


# --- counting -------------------------------------------------------------------------------------


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("name", ["alice", "nobody", "everyone"])
async def test_three_wrong_passwords_lock_a_name_known_or_not(
    hall: OpenHall, alice: Visitor, name: str
) -> None:
    hasher = count_looks(hall)
    told = [(await try_guess(hall, name)).problem for _ in range(4)]
    assert [one.name for one in told if one] == ["wrong_credentials"] * 3 + ["account_locked"]
    assert hasher.looked_at == 3
    assert [one.details.get("retry_after_ms") for one in told if one] == [
        None,
        None,
        60_000,
        60_000,
    ]
    last = told[3]
    assert last is not None
    assert (last.code, last.retryable) == ("failed_precondition", False)
    assert hasher.hashed == 0


@pytest.mark.requirement("R8")
async def test_right_password_is_refused_unseen_while_locked_and_then_works(
    hall: OpenHall, alice: Visitor
) -> None:
    await lock(hall)
    hasher = count_looks(hall)
    assert await guess(hall, password=PASSWORD) == "account_locked"
    hall.clock.advance(DURATION_MS - 1)
    assert await guess(hall, password=PASSWORD) == "account_locked"
    assert hasher.looked_at == 0
    hall.clock.advance(1)
    assert await guess(hall, password=PASSWORD) == "done"
    assert await hall.rows("SELECT * FROM identity_lockout") == []


@pytest.mark.requirement("R8")
async def test_count_starts_again_after_the_lock(hall: OpenHall, alice: Visitor) -> None:
    await lock(hall)
    hall.clock.advance(DURATION_MS)
    await lock(hall)
    assert await guess(hall, password=PASSWORD) == "account_locked"


@pytest.mark.requirement("R7")
async def test_success_forgives_what_was_wrong_before(hall: OpenHall, alice: Visitor) -> None:
    for _ in range(5):
        assert await guess(hall) == "wrong_credentials"
        assert await guess(hall) == "wrong_credentials"
        assert await guess(hall, password=PASSWORD) == "done"


@pytest.mark.requirement("R7")
async def test_refused_guesses_make_a_lock_no_longer(hall: OpenHall, alice: Visitor) -> None:
    await lock(hall)
    for _ in range(10):
        hall.clock.advance(DURATION_MS // 10 - 1)
        assert await guess(hall) == "account_locked"
    hall.clock.advance(10)
    assert await guess(hall, password=PASSWORD) == "done"


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_parallel_burst_has_three_guesses_looked_at(
    hall: OpenHall, alice: Visitor, name: str
) -> None:
    hasher = count_looks(hall)
    told = await asyncio.gather(*(guess(hall, name, f"wrong {at}") for at in range(200)))
    assert hasher.looked_at == 3
    assert sorted(told) == ["account_locked"] * 197 + ["wrong_credentials"] * 3
    assert hasher.hashed == 0


@pytest.mark.requirement("R7")
async def test_burst_from_everywhere_that_holds_the_right_password_too(
    hall: OpenHall, alice: Visitor
) -> None:
    """The right one is number 100; an attacker never gets as far."""
    hasher = count_looks(hall)
    fields = [{"name": "Alice", "password": PASSWORD if at == 100 else WRONG} for at in range(200)]
    replies = await asyncio.gather(
        *(
            hall.answer("identity.open_session", one, source=f"203.0.113.{at}")
            for at, one in enumerate(fields)
        )
    )
    assert hasher.looked_at == 3
    assert all(reply.problem for reply in replies)


@pytest.mark.requirement("R7")
async def test_burst_over_two_restarts_has_three_guesses_looked_at(tmp_path: Path) -> None:
    clock, looked_at = ManualClock(), 0
    async with open_test_hall(tmp_path, clock=clock) as hall:
        await hall.member("alice")
    for bursts in (1, 2, 200):
        async with open_test_hall(tmp_path, clock=clock) as hall:
            hasher = count_looks(hall)
            await asyncio.gather(*(guess(hall) for _ in range(bursts)))
            looked_at += hasher.looked_at
    assert looked_at == 3
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert await guess(hall, password=PASSWORD) == "account_locked"
        clock.advance(DURATION_MS)
        assert await guess(hall, password=PASSWORD) == "done"


@pytest.mark.requirement("R7")
async def test_guess_that_was_cut_off_counts_as_wrong(hall: OpenHall, alice: Visitor) -> None:
    class Crash(CountingHasher):
        async def verify(self, known: str | None, password: str) -> bool:
            self.looked_at += 1
            raise SystemExit

    hasher = Crash()
    hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index]
    assert [await guess(hall, password=PASSWORD) for _ in range(4)] == [
        "internal",
        "internal",
        "internal",
        "account_locked",
    ]
    assert hasher.looked_at == 3


@pytest.mark.requirement("R7")
async def test_guess_that_nobody_looked_at_does_not_count(hall: OpenHall, alice: Visitor) -> None:
    hasher = count_looks(hall)
    hasher.is_full = True
    assert await asyncio.gather(*(guess(hall) for _ in range(3))) == ["overloaded"] * 3
    assert [await guess(hall) for _ in range(10)] == ["overloaded"] * 10
    hasher.is_full = False
    assert await guess(hall, password=PASSWORD) == "done"
    await lock(hall)
    assert await guess(hall) == "account_locked"


@pytest.mark.requirement("R7")
async def test_full_hall_locks_nobody_who_knows_the_password(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path, tables={"sessions": {"per_hall_max": 1}}) as hall:
        await hall.member("alice")
        assert [await guess(hall, password=PASSWORD) for _ in range(5)] == ["hall_full"] * 5
        assert await hall.rows("SELECT guesses, locked_until_ms FROM identity_lockout") == [(0, 0)]


@pytest.mark.requirement("R7")
async def test_old_password_proved_while_it_was_changed_opens_nothing(
    hall: OpenHall, alice: Visitor
) -> None:
    class Slow(CheapHasher):
        def __init__(self) -> None:
            self.gate, self.is_reached = asyncio.Event(), asyncio.Event()

        async def verify(self, known: str | None, password: str) -> bool:
            is_right = await super().verify(known, password)
            self.is_reached.set()
            await self.gate.wait()
            return is_right

    hasher = Slow()
    hall.hall.house.ports[PasswordHasher] = hasher  # type: ignore[index]
    late = asyncio.create_task(guess(hall, password=PASSWORD))
    await hasher.is_reached.wait()
    sql = "UPDATE identity_member SET password_version = password_version + 1"
    await hall.hall.database.write(lambda tx: tx.execute(sql))
    hasher.gate.set()
    assert await late == "wrong_credentials"
    assert await hall.rows("SELECT guesses FROM identity_lockout") == [(1,)]


# --- the same for names that nobody has -----------------------------------------------------------


@pytest.mark.requirement("R1")
@pytest.mark.requirement("R7")
async def test_unknown_names_are_answered_and_written_as_known_ones(
    hall: OpenHall, alice: Visitor
) -> None:
    seen = []
    for name in ("alice", "nobody", "everyone", "0" * 24, "\N{ZERO WIDTH SPACE}"):
        hasher = count_looks(hall)
        commits = await count_commits(hall)
        told = []
        for password in (WRONG, WRONG, WRONG, WRONG, PASSWORD):
            reply = await try_guess(hall, name, password)
            assert reply.problem is not None
            told.append(msgspec.json.encode(dataclasses.replace(reply.problem, request_id="")))
        seen.append((told, hasher.looked_at, hasher.hashed, await count_commits(hall) - commits))
    assert all(one == seen[0] for one in seen), seen


async def count_commits(hall: OpenHall) -> int:
    """Return how many rows of the audit trail there are: every FLOW leaves as many."""
    return int((await hall.rows("SELECT max(number) FROM access_audit"))[0][0])


@pytest.mark.requirement("R7")
async def test_unknown_name_is_kept_as_a_digest_in_every_spelling(hall: OpenHall) -> None:
    for name in ("Nobody", "nobody", "NOBODY"):
        assert await guess(hall, name) == "wrong_credentials"
    assert await guess(hall, "nObody") == "account_locked"
    [row] = await hall.rows("SELECT * FROM identity_unknown_name")
    assert "nobody" not in repr(row).lower()
    assert len(row[0]) == 64


@pytest.mark.requirement("R7")
async def test_flood_of_unknown_names_is_bounded_and_unlocks_nobody(tmp_path: Path) -> None:
    tables = {"lockout": {"unknown_names_max": 20}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        await hall.member("alice")
        await lock(hall, "alice")
        await lock(hall, "ghost")
        for at in range(60):
            hall.clock.advance(10)
            await guess(hall, f"flood{at}")
        assert await hall.rows("SELECT count(*) FROM identity_unknown_name") == [(20,)]
        assert await hall.rows("SELECT names FROM identity_unknown_name_count") == [(20,)]
        assert await guess(hall, "alice", PASSWORD) == "account_locked"
        assert await guess(hall, "ghost") == "account_locked", "what is locked goes last"
        assert await guess(hall, "flood59") == "wrong_credentials"
        rows = await hall.rows("SELECT guesses FROM identity_unknown_name ORDER BY guesses DESC")
        assert rows[:2] == [(3,), (2,)], "the newest are remembered"
        hall.clock.advance(DURATION_MS)
        await guess(hall, "another")
        locked = "SELECT count(*) FROM identity_unknown_name WHERE locked_until_ms > 0"
        assert await hall.rows(locked) == [(0,)], "a lock that has passed goes first"
        assert await hall.rows("SELECT count(*) FROM identity_unknown_name") == [(20,)]


@pytest.mark.requirement("R7")
async def test_new_name_is_counted_although_all_others_are_locked(tmp_path: Path) -> None:
    tables = {"lockout": {"unknown_names_max": 2}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        for name in ("one", "two", "three"):
            await lock(hall, name)
            assert await guess(hall, name) == "account_locked"
        assert await hall.rows("SELECT count(*) FROM identity_unknown_name") == [(2,)]
        assert await guess(hall, "three") == "account_locked"


@pytest.mark.requirement("R7")
async def test_bound_that_is_lowered_is_met_in_steps(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        for at in range(10):
            await guess(hall, f"flood{at}")
    async with open_test_hall(tmp_path, tables={"lockout": {"unknown_names_max": 4}}) as hall:
        await guess(hall, "another")
        assert await hall.rows("SELECT count(*) FROM identity_unknown_name") == [(4,)]
        assert await hall.rows("SELECT names FROM identity_unknown_name_count") == [(4,)]


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("name", ["alice", "nobody"])
@pytest.mark.parametrize("jump_ms", [-86_400_000, -1, 1, 59_999, 60_000, 86_400_000])
async def test_clock_that_is_set_makes_a_lock_neither_shorter_nor_longer(
    hall: OpenHall, alice: Visitor, name: str, jump_ms: int
) -> None:
    await lock(hall, name)
    hall.clock.advance(10_000)
    hall.clock.set_wall(hall.clock.now_ms() + jump_ms)
    reply = await try_guess(hall, name)
    assert reply.problem is not None
    assert reply.problem.name == "account_locked"
    assert reply.problem.details == {"retry_after_ms": 50_000}
    hall.clock.advance(49_999)
    assert await guess(hall, name) == "account_locked"
    hall.clock.advance(1)
    assert await guess(hall, name) == "wrong_credentials"


@pytest.mark.requirement("R7")
async def test_clock_that_is_set_back_over_a_restart_locks_no_longer_than_locks_last(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    async with open_test_hall(tmp_path, clock=clock) as hall:
        await hall.member("alice")
        await lock(hall)
    clock.set_wall(clock.now_ms() - 86_400_000)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert await guess(hall, password=PASSWORD) == "account_locked"
        clock.advance(DURATION_MS - 1)
        assert await guess(hall, password=PASSWORD) == "account_locked"
        clock.advance(1)
        assert await guess(hall, password=PASSWORD) == "done"


@pytest.mark.requirement("R7")
async def test_lock_met_after_a_restart_is_held_by_the_steady_clock(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_test_hall(tmp_path, clock=clock) as hall:
        await hall.member("alice")
        await lock(hall)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert await guess(hall, password=PASSWORD) == "account_locked"
        clock.set_wall(clock.now_ms() + 86_400_000)
        assert await guess(hall, password=PASSWORD) == "account_locked"
        clock.advance(DURATION_MS)
        assert await guess(hall, password=PASSWORD) == "done"


@pytest.mark.requirement("R7")
def test_watch_forgets_what_has_passed_and_then_the_oldest() -> None:
    clock = ManualClock()
    watch = LockWatch(clock, locks_max=4)
    locked = [Guesses(f"series{at}", 3, 0, 60_000) for at in range(10)]
    for at in range(4):
        watch.begin("alice", locked[at], 1_000 if at < 2 else 60_000)
    clock.advance(2_000)
    watch.begin("alice", locked[4], 60_000)
    assert [watch.left_ms("alice", locked[at], 0) for at in range(5)] == [0, 0, 0, 58_000, 60_000]


# --- who may end a lock, and whom it does not concern ---------------------------------------------


@pytest.mark.requirement("R7")
async def test_open_session_goes_on_and_renews(hall: OpenHall, alice: Visitor) -> None:
    opened: Any = await hall.call("identity.open_session", {"name": "alice", "password": PASSWORD})
    await lock(hall)
    assert (await hall.call("identity.get_self", as_=alice)).name == "alice"
    fields = {"refresh_token": opened.refresh_token}
    assert await hall.call("identity.refresh_session", fields)


@pytest.mark.requirement("R7")
async def test_administrator_unlocks(hall: OpenHall, alice: Visitor) -> None:
    boss = await hall.administrator("boss")
    await lock(hall)
    unlocked = await hall.call("identity.unlock_account", {"member": "Alice"}, as_=boss)
    assert (unlocked.member_id, unlocked.had_guesses) == (alice.member_id, True)
    assert await guess(hall) == "wrong_credentials"
    assert await guess(hall, password=PASSWORD) == "done"
    again = await hall.call("identity.unlock_account", {"member": alice.member_id}, as_=boss)
    assert not again.had_guesses
    kinds = [event.kind for event in await hall.events("identity")]
    assert kinds.count("identity.account_unlocked") == 1


@pytest.mark.requirement("R7")
@pytest.mark.requirement("R20")
async def test_unlocking_takes_permission(hall: OpenHall, alice: Visitor) -> None:
    await lock(hall)
    for member in ("alice", "nobody"):
        with pytest.raises(ProblemError, match="permission_denied"):
            await hall.call("identity.unlock_account", {"member": member}, as_=alice)
    assert await guess(hall, password=PASSWORD) == "account_locked"
    boss = await hall.administrator("boss")
    with pytest.raises(ProblemError, match="member_not_found"):
        await hall.call("identity.unlock_account", {"member": "nobody"}, as_=boss)


@pytest.mark.requirement("R24")
async def test_wrong_and_refused_stand_in_the_audit_trail(hall: OpenHall, alice: Visitor) -> None:
    after = await count_commits(hall)
    await lock(hall)
    await guess(hall, password=PASSWORD)
    await guess(hall, "nobody")
    rows = await hall.rows(
        "SELECT path, outcome FROM access_audit WHERE number > $1 ORDER BY number", after
    )
    where = f"member/{alice.member_id}"
    assert rows == [
        *[(where, "wrong_credentials")] * 3,
        (where, "account_locked"),
        ("", "wrong_credentials"),
    ]


# --- settings and rules ---------------------------------------------------------------------------


@pytest.fixture
async def strict_hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    tables = {"lockout": {"attempts_max": 1, "duration_ms": 5_000}}
    async with open_test_hall(tmp_path, tables=tables) as opened:
        yield opened


@pytest.mark.requirement("R7")
async def test_number_and_time_are_settings(strict_hall: OpenHall) -> None:
    await strict_hall.member("alice")
    assert [await guess(strict_hall) for _ in range(2)] == ["wrong_credentials", "account_locked"]
    strict_hall.clock.advance(5_000)
    assert await guess(strict_hall, password=PASSWORD) == "done"


@pytest.mark.requirement("R7")
def test_last_guess_that_is_allowed_locks() -> None:
    settings = LockoutSettings(attempts_max=2, duration_ms=1_000)
    first = count_guess(None, "s", 5, settings)
    second = count_guess(first, "t", 6, settings)
    assert (first, second) == (Guesses("s", 1, 5, 0), Guesses("s", 2, 6, 1_006))
    assert count_guess(second, "t", 2_000, settings) == Guesses("t", 1, 2_000, 0)
    assert [lock_left_ms(second, now, 1_000) for now in (-9, 6, 1_005, 1_006)] == [
        1_000,
        1_000,
        1,
        0,
    ]


def test_digests_of_possible_and_impossible_names_never_meet() -> None:
    names = UnknownNames(bytes(32))
    assert names.digest("Bob", "bob") == names.digest("BOB", "bob")
    assert names.digest("bob", None) != names.digest("bob", "bob")
    assert names.digest("\ud800", None)
    assert UnknownNames(bytes(31) + b"1").digest("bob", "bob") != names.digest("bob", "bob")
