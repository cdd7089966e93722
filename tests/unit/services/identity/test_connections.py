"""Connections: signing in on one, staying, and being told to go."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moothall.action.connections import CloseReason, Connections
from moothall.core.units import MINUTE_MS, SECOND_MS
from moothall.services.identity.adapters.activity import SessionActivity
from moothall.testing import OpenConnection, OpenHall, ProblemError, Visitor, open_test_hall

IDLE_MS = 10 * MINUTE_MS


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    async with open_test_hall(tmp_path) as opened:
        yield opened


@pytest.fixture
async def idle_hall(tmp_path: Path) -> AsyncIterator[OpenHall]:
    tables = {"sessions": {"idle_timeout_ms": IDLE_MS}}
    async with open_test_hall(tmp_path, tables=tables) as opened:
        yield opened


def wait(hall: OpenHall, seconds: float) -> None:
    """Let time pass, and the hall look after its connections."""
    hall.clock.advance(int(seconds * SECOND_MS))
    hall.look_after_connections()


@pytest.mark.requirement("R12")
async def test_who_does_not_sign_in_must_go(hall: OpenHall) -> None:
    stranger = await hall.connect()
    for _ in range(2):
        wait(hall, 14.9)
        stranger.heard()
    assert stranger.reason is None
    wait(hall, 0.3)
    assert stranger.reason is CloseReason.UNAUTHENTICATED


@pytest.mark.requirement("R13")
async def test_heartbeats_keep_a_connection_and_silence_ends_it(hall: OpenHall) -> None:
    answers, silent = [await hall.connect(await hall.member(name)) for name in ("ann", "bob")]
    for _ in range(4):
        wait(hall, 15)
        answers.heard()
    assert answers.beats == 4
    assert silent.beats == 2, "two heartbeats, and then it is taken for dead"
    assert (answers.reason, silent.reason) == (None, CloseReason.SILENT)


async def test_calls_on_a_connection_are_the_members(hall: OpenHall) -> None:
    ann = await hall.member("ann")
    opened = await hall.connect()
    with pytest.raises(ProblemError, match="unauthenticated"):
        await opened.call("identity.get_self")
    bound = await opened.call("identity.authenticate", token=ann.token)
    assert (bound["member_id"], bound["session_id"]) == (ann.member_id, ann.session_id)
    assert (await opened.call("identity.get_self"))["member_id"] == ann.member_id


async def test_a_bad_token_binds_nothing_and_unbinds_nothing(hall: OpenHall) -> None:
    opened = await hall.connect(await hall.member("ann"))
    with pytest.raises(ProblemError, match="unauthenticated"):
        await opened.call("identity.authenticate", token="e30.e30.e30")
    assert (await opened.call("identity.get_self"))["name"] == "ann"
    with pytest.raises(ProblemError, match="connection_needed"):
        await hall.call("identity.authenticate", {"token": (await hall.member("bob")).token})


async def test_another_member_starts_without_the_feeds_of_the_first(hall: OpenHall) -> None:
    boss, ann = await hall.administrator(), await hall.member("ann")
    opened = await hall.connect(boss)
    await opened.call("feeds.subscribe", feed="identity")
    await opened.call("identity.authenticate", token=ann.token)
    assert not opened.connection.subscriptions
    connections = hall.hall.house.use(Connections)
    connections.end_session(boss.session_id, "closed")
    assert opened.reason is None, "it belongs to the second session only"
    connections.end_session(ann.session_id, "closed")
    assert opened.reason is CloseReason.SESSION_ENDED


async def test_a_member_has_a_bounded_number_of_connections(hall: OpenHall) -> None:
    ann, bob = await hall.member("ann"), await hall.member("bob")
    limit = hall.hall.house.use(Connections).bounds.per_member_max
    opened = [await hall.connect(ann) for _ in range(limit)]
    with pytest.raises(ProblemError, match="too_many_connections"):
        await hall.connect(ann)
    await hall.connect(bob)
    await opened[0].call("identity.authenticate", token=ann.token)
    opened[0].leave()
    await hall.connect(ann)


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("deed", ["close_session", "change_password", "remove_member"])
async def test_what_ends_a_session_ends_its_connections_at_once(hall: OpenHall, deed: str) -> None:
    boss, ann = await hall.administrator(), await hall.member("ann")
    other = await hall.sign_in("ann")
    mine, others, strangers = [await hall.connect(who) for who in (ann, other, boss)]
    if deed == "close_session":
        await hall.call("identity.close_session", as_=ann)
        assert (mine.reason, others.reason) == (CloseReason.SESSION_ENDED, None)
    elif deed == "change_password":
        fields = {"password": "correct horse battery staple", "new_password": "tr0ub4dor and 3"}
        await hall.call("identity.change_password", fields, as_=ann)
        assert (mine.reason, others.reason) == (None, CloseReason.SESSION_ENDED)
    else:
        await hall.call("identity.remove_member", {"member": "ann"}, as_=boss)
        assert mine.reason is others.reason is CloseReason.SESSION_ENDED
    assert strangers.reason is None


@pytest.mark.requirement("R5")
async def test_an_expired_token_may_be_renewed_in_place_for_a_minute(hall: OpenHall) -> None:
    opened = await hall.connect(await hall.member("ann"))
    for _ in range(5 * 4 + 3):
        wait(hall, 15)
        opened.heard()
    with pytest.raises(ProblemError, match="unauthenticated"):
        await opened.call("identity.get_self")
    assert opened.reason is None
    wait(hall, 16)
    assert opened.reason is CloseReason.TOKEN_EXPIRED


@pytest.mark.requirement("R13")
async def test_who_does_nothing_is_signed_out_and_told(idle_hall: OpenHall) -> None:
    hall = idle_hall
    idle, busy = await hall.member("idle"), await hall.member("busy")
    connections: dict[str, OpenConnection] = {}
    late_ms = hall.hall.house.use(SessionActivity).late_ms
    for passed in range((IDLE_MS + late_ms) // MINUTE_MS + 1):
        for visitor in (idle, busy):
            if passed % 4 == 0 and await _is_open(hall, visitor):
                # Renewing is no activity.
                renewed = hall.renew(visitor)
                connection = connections.get(visitor.name) or await hall.connect(renewed)
                await connection.call("identity.authenticate", token=renewed.token)
                connections[visitor.name] = connection
        await connections["busy"].call("identity.get_self")
        await connections["idle"].call("hall.ping")
        assert (await connections["idle"].answer("identity.rename_self")).problem is not None
        hall.clock.advance(MINUTE_MS)
        await hall.run_job("identity.end_idle_sessions")
    assert connections["idle"].reason is CloseReason.IDLE
    assert connections["busy"].reason is None
    ended = [event for event in await hall.events("identity") if "session_ended" in event.kind]
    assert [(event.data["session_id"], event.data["reason"]) for event in ended] == [
        (idle.session_id, "idle")
    ]


@pytest.mark.requirement("R13")
async def test_a_restart_counts_as_activity_and_forgets_nobody(tmp_path: Path) -> None:
    tables = {"sessions": {"idle_timeout_ms": IDLE_MS}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        ann, clock = await hall.member("ann"), hall.clock
        clock.advance(IDLE_MS - 1)
        await hall.run_job("identity.end_idle_sessions")
    async with open_test_hall(tmp_path, tables=tables, clock=clock) as hall:
        clock.advance(IDLE_MS - 1)
        await hall.run_job("identity.end_idle_sessions")
        assert await _is_open(hall, ann)
        clock.advance(2 + hall.hall.house.use(SessionActivity).late_ms)
        await hall.run_job("identity.end_idle_sessions")
        assert not await _is_open(hall, ann)


async def _is_open(hall: OpenHall, visitor: Visitor) -> bool:
    rows = await hall.rows(
        "SELECT ended_at_ms FROM identity_session WHERE session_id = $1", visitor.session_id
    )
    return rows == [(None,)]
