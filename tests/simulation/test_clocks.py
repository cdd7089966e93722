"""The clock on the wall is set, forwards and backwards, while a hall runs and between two runs."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from moothall.core.units import DAY_MS, HOUR_MS, MINUTE_MS
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall
from moothall.testing.hall import PASSWORD

JUMPS = {
    "an hour on": HOUR_MS,
    "an hour back": -HOUR_MS,
    "a day on": DAY_MS,
    "a day back": -DAY_MS,
    "a week on": 7 * DAY_MS,
    "a week back": -7 * DAY_MS,
}
LOCK_MS = 10 * MINUTE_MS
LOCKING = {"lockout": {"attempts_max": 3, "duration_ms": LOCK_MS}}
TOKEN_MS = 5 * MINUTE_MS

jumping = pytest.mark.parametrize("jump_ms", JUMPS.values(), ids=JUMPS)


def jump(clock: ManualClock, by_ms: int) -> None:
    """Set the clock on the wall; no time passes."""
    clock.set_wall(clock.now_ms() + by_ms)


def opened(folder: Path, clock: ManualClock) -> AbstractAsyncContextManager[OpenHall]:
    return open_test_hall(folder, clock=clock)


async def name_of_refusal(hall: OpenHall, who: Visitor) -> str:
    reply = await hall.answer("identity.get_self", token=who.token)
    return "" if reply.problem is None else reply.problem.name


async def make_board(hall: OpenHall, **more: str) -> Visitor:
    boss = await hall.administrator("boss")
    fields = {"board_id": "seven", "name": "seven", "direction": "descending", **more}
    fields |= {"counting": "every", "default_level": "write"}
    await hall.call("leaderboards.create_board", fields, as_=boss)
    return boss


async def submit(hall: OpenHall, who: Visitor, key: str) -> str:
    fields = {"board_id": "seven", "score": 1, "description": key}
    entry = await hall.call("leaderboards.submit_score", fields, as_=who, key=key)
    found: str = entry.entry_id
    return found


@jumping
@pytest.mark.requirement("R2")
async def test_no_token_lives_longer(tmp_path: Path, jump_ms: int) -> None:
    async with opened(tmp_path, clock := ManualClock()) as hall:
        used, unused = await hall.member("ada"), await hall.member("bo")
        assert await name_of_refusal(hall, used) == ""
        clock.advance(TOKEN_MS // 2)
        jump(clock, jump_ms)
        clock.advance(TOKEN_MS // 2 + MINUTE_MS)
        for who in (used, unused):
            assert await name_of_refusal(hall, who) == "unauthenticated"
        # Nor when the clock is set right again.
        jump(clock, -jump_ms)
        for who in (used, unused):
            assert await name_of_refusal(hall, who) == "unauthenticated"


@jumping
@pytest.mark.requirement("R5")
async def test_no_session_revives(tmp_path: Path, jump_ms: int) -> None:
    """Also where the clock was wrong during a restart, and is set right afterwards."""
    clock = ManualClock()
    async with opened(tmp_path, clock) as hall:
        ada = await hall.member("ada")
        await hall.call("identity.close_session", as_=ada)
        jump(clock, jump_ms)
        assert await name_of_refusal(hall, ada) == "unauthenticated"
    async with opened(tmp_path, clock) as hall:
        assert await name_of_refusal(hall, ada) == "unauthenticated"
        jump(clock, -jump_ms)
        assert await name_of_refusal(hall, ada) == "unauthenticated"
    async with opened(tmp_path, clock) as hall:
        assert await name_of_refusal(hall, ada) == "unauthenticated"


@jumping
@pytest.mark.parametrize("restarts", [False, True], ids=["running", "over a restart"])
@pytest.mark.requirement("R34")
async def test_no_key_is_forgotten_early(tmp_path: Path, jump_ms: int, *, restarts: bool) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock) as hall:
        boss = await make_board(hall)
        first = await submit(hall, boss, "key")
        clock.advance(DAY_MS - HOUR_MS)
        if not restarts:
            jump(clock, jump_ms)
            await hall.run_job("action.sweep_replies")
            assert await submit(hall, hall.renew(boss), "key") == first
            return
    jump(clock, jump_ms)
    async with opened(tmp_path, clock) as hall:
        await hall.run_job("action.sweep_replies")
        assert await submit(hall, await hall.sign_in("boss"), "key") == first


@pytest.mark.requirement("R34")
async def test_no_key_is_forgotten_by_restarts_with_a_wrong_clock(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock) as hall:
        first = await submit(hall, await make_board(hall), "key")
    jump(clock, 5 * DAY_MS)
    for number in range(4):
        async with opened(tmp_path, clock) as hall:
            await hall.run_job("action.sweep_replies")
            boss = await hall.sign_in("boss")
            await submit(hall, boss, f"other-{number}")
            assert await submit(hall, boss, "key") == first
            clock.advance(MINUTE_MS)


@pytest.mark.requirement("R34")
async def test_replies_are_swept_in_a_hall_that_is_restarted_often(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock) as hall:
        await submit(hall, await make_board(hall), "key")
    for _ in range(6):
        async with opened(tmp_path, clock) as hall:
            clock.advance(12 * HOUR_MS)
    async with opened(tmp_path, clock) as hall:
        await hall.run_job("action.sweep_replies")
        assert await hall.rows("SELECT key FROM action_reply WHERE key = 'key'") == []


@pytest.mark.requirement("R5")
async def test_no_session_revives_that_ended_before_the_clock_was_wrong(tmp_path: Path) -> None:
    clock = ManualClock()
    right_ms = clock.now_ms()
    async with opened(tmp_path, clock) as hall:
        await make_board(hall)
        ada, bob = await hall.member("ada"), await hall.member("bob")
        await hall.call("identity.close_session", as_=ada)
    clock.set_wall(right_ms + DAY_MS)
    async with opened(tmp_path, clock) as hall:
        again = await hall.sign_in("bob")
        await hall.call("identity.close_session", as_=again)
    async with opened(tmp_path, clock) as hall:  # the last end is a day ahead now
        clock.set_wall(right_ms)
        for visitor in (ada, again):
            with pytest.raises(ProblemError, match=r"session_ended|unauthenticated"):
                await hall.call("identity.get_self", as_=visitor)
        await hall.call("identity.get_self", as_=bob)


@jumping
@pytest.mark.requirement("R7")
@pytest.mark.requirement("R8")
async def test_no_lockout_is_shortened(tmp_path: Path, jump_ms: int) -> None:
    clock = ManualClock()
    async with open_test_hall(tmp_path, clock=clock, tables=LOCKING) as hall:
        await hall.member("ada")
        for _ in range(3):
            fields = {"name": "ada", "password": "wrong"}
            with pytest.raises(ProblemError):
                await hall.call("identity.open_session", fields)
        clock.advance(LOCK_MS - MINUTE_MS)
        jump(clock, jump_ms)
        with pytest.raises(ProblemError) as refused:
            await hall.call("identity.open_session", {"name": "ada", "password": PASSWORD})
        assert refused.value.name == "account_locked"
        clock.advance(2 * MINUTE_MS)
        await hall.sign_in("ada")


@jumping
@pytest.mark.requirement("R36")
async def test_numbers_go_on_and_the_audit_trail_stays_whole(
    tmp_path: Path, jump_ms: int, engine: str
) -> None:
    clock = ManualClock()
    async with opened(tmp_path, clock) as hall:
        boss = await make_board(hall)
        follower = await hall.connect(boss)
        await follower.call("feeds.subscribe", feed="board/seven/moderation")
        entries = []
        for number in range(4):
            entries.append(await submit(hall, boss, f"key-{number}"))
            for job in ("access.seal_audit", "access.publish_head"):
                await hall.run_job(job)
            jump(clock, jump_ms if number % 2 == 0 else -jump_ms)
            boss = hall.renew(boss)
            await follower.call("identity.authenticate", token=boss.token)
            hall.look_after_connections()
        # No feed stalls: each event came, in the order of its number, whatever its time.
        told = [await follower.next_event() for _ in range(4)]
        assert [event.data["entry_id"] for event in told] == entries
        assert [event.seq for event in told] == sorted(event.seq for event in told)
        events = await hall.events("board/seven/moderation")
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        checked = await hall.call("access.verify_audit", as_=boss)
        sql = "SELECT count(*) FROM access_audit WHERE number <= $1"
        assert await hall.rows(sql, checked.last_sealed_number) == [(checked.rows_checked,)]
        if engine == "sqlite":  # elsewhere events and notices take numbers of the same sequence
            assert checked.numbers_skipped == 0


@jumping
async def test_a_season_begins_once(tmp_path: Path, jump_ms: int) -> None:
    """Each midnight; going back over one that has been does not begin it anew."""
    clock = ManualClock()
    async with opened(tmp_path, clock) as hall:
        await make_board(hall, schedule="0 0 * * *", time_zone="UTC")
        seasons = []
        for by_ms in (0, HOUR_MS, jump_ms, -jump_ms, jump_ms, -jump_ms):
            jump(clock, by_ms)
            for _ in range(3):
                await hall.run_job("leaderboards.start_due_seasons")
            rows = await hall.rows("SELECT season FROM leaderboards_board")
            seasons.append(rows[0][0])
        assert seasons == [1, 1, *([2] * 4 if jump_ms >= DAY_MS else [1] * 4)]
