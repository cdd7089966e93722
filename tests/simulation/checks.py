"""The hall against the model, and the rows against each other."""

import asyncio
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from moothall.action.call import Call
from moothall.action.checks import Check, Finding, Inspection, Level
from moothall.action.connections import Connections
from moothall.action.hub import FeedHub
from moothall.action.outbox import ERASED_KIND
from moothall.app.compose import make_resources
from moothall.app.config import read_hall_tables
from moothall.core.units import DAY_MS
from moothall.ports.database import Transaction
from moothall.testing import OpenHall, SeededEntropy
from tests.simulation.deeds import Deed
from tests.simulation.followers import Follower
from tests.simulation.model import ModelBoard
from tests.simulation.plan import PERMISSIONS
from tests.unit.services.leaderboards.naive_board import NaiveBoard, Row
from tests.unit.services.leaderboards.test_model import ORPHANS

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulator

READS_MAX = 2_000
"""Messages that a follower may need to catch up; more is a circle."""

REPEATED_MAX = 100
"""Deeds that are repeated in the end."""

CONNECTS_MAX = 8
"""How often a follower tries to connect."""

QUIET_TURNS = 30
"""After so many turns of the loop without an event a follower has read all there is."""

SOURCE = "192.0.2.77"

SWEEPS = ("action.sweep_replies", "identity.sweep_sessions", "files.collect_files")

LEFT_OVER = {
    "remembered replies": "SELECT count(*) FROM action_reply",
    "sessions that ended": "SELECT count(*) FROM identity_session WHERE ended_at_ms IS NOT NULL",
    "files that nobody holds": """
      SELECT count(*) FROM files_file AS f WHERE NOT EXISTS (
        SELECT 1 FROM files_hold AS h WHERE h.sha256 = f.sha256)
    """,
    "holds of no proof": """
      SELECT count(*) FROM files_hold AS h WHERE NOT EXISTS (
        SELECT 1 FROM leaderboards_proof AS p WHERE p.proof_id = h.ref)
    """,
    "proofs of no entry": """
      SELECT count(*) FROM leaderboards_proof AS p WHERE NOT EXISTS (
        SELECT 1 FROM leaderboards_entry AS e WHERE e.entry_id = p.entry_id)
    """,
}

TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
    "postgres": """
      SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public' ORDER BY 1
    """,
}
RESTLESS = frozenset({"access_audit", "action_lease", "sqlite_sequence"})
"""Tables in which refusals are noted, or that change by themselves."""

Body = Mapping[str, Any]


async def ask(sim: "Simulator", action: str, *, of: OpenHall | None = None, **fields: Any) -> Body:
    """Ask something as the administrator, of one process of the hall or of any."""
    session = sim.plan.session_of(sim.plan.boss)
    if session is None:
        await sim.sign_in(sim.plan.boss)
        session = sim.plan.session_of(sim.plan.boss)
    assert session is not None
    call = Call(action, msgspec.json.encode(fields), SOURCE, session.access_token)
    reply = await (of or sim.world.hall).hall.pipeline.answer(call)
    assert reply.body is not None, f"{action} {fields}: {reply.problem}"
    sim.tell(f"{action} {fields}: {blake2b(reply.body, digest_size=6).hexdigest()}")
    body: Body = msgspec.json.decode(reply.body)
    return body


async def list_roles(sim: "Simulator") -> list[Body]:
    """Return all roles."""
    roles: list[Body] = (await ask(sim, "access.list_roles"))["roles"]
    return roles


async def check_all(sim: "Simulator") -> None:
    """Check everything that can be checked while people act."""
    for board in list(sim.model.boards.values()):
        await check_board(sim, board)
    await check_access(sim)
    await check_sessions(sim)
    await check_streams(sim)
    await check_audit(sim)
    sim.count("checks")


async def check_end(sim: "Simulator") -> None:
    """Check everything, let everybody catch up, and see that nothing is left over."""
    await sim.look_at_rebuilds(finish=True)
    for job in ("leaderboards.erase_unused_rankings", "leaderboards.erase_removed_boards"):
        await sim.run_job(job)
    await check_database(sim)
    await sim.check()
    await check_rooms(sim)
    await repeat_deeds(sim)
    for follower in sim.followers:
        await check_follower(sim, follower)
    for follower in sim.followers:
        follower.lose()
    await _check_left_over(sim)


# --- single calls ---------------------------------------------------------------------------------


def check_refusal(sim: "Simulator", deed: Deed) -> None:
    """See that a permission that was missing is missing in the model too."""
    problem = deed.replies[-1].problem
    assert problem is not None
    permission, path = problem.details.get("permission"), problem.details.get("path")
    if problem.name == "permission_denied" and isinstance(path, str) and permission:
        access = sim.model.access
        access.now_ms = sim.clock.now_ms()
        assert not access.allows(deed.actor, str(permission), path), f"{deed}: {problem}"


async def digest_tables(sim: "Simulator") -> dict[str, str]:
    """Return a digest of each table, but for those that note refusals."""
    hall = sim.world.hall
    tables = await hall.rows(TABLES[sim.world.engine])
    return {
        table: blake2b(repr(sorted(map(repr, rows))).encode()).hexdigest()
        for (table,) in tables
        if table not in RESTLESS
        for rows in [await hall.rows(f"SELECT * FROM {table}")]
    }


# --- boards ---------------------------------------------------------------------------------------


async def follow_rebuilds(sim: "Simulator") -> None:
    """Learn which rankings were built anew."""
    for board in sim.model.boards.values():
        if board.pending is not None:
            found = await ask(sim, "leaderboards.get_board", board_id=board.board_id)
            if not found["is_rebuilding"]:
                board.change_over()


async def check_schedules(sim: "Simulator") -> None:
    """See that a season that was due has begun once, and when the next one does."""
    for board in sim.model.boards.values():
        found = await ask(sim, "leaderboards.get_board", board_id=board.board_id)
        assert found["season"] == len(board.seasons), f"{board.board_id}: {found}"
        board.next_reset_at_ms = found["next_reset_at_ms"]
        assert board.next_reset_at_ms is None or board.next_reset_at_ms > sim.clock.now_ms(), found


async def check_board(sim: "Simulator", board: ModelBoard) -> None:
    """See that places, pages, totals, comments and proofs are those of the model."""
    at = board.board_id
    found = await ask(sim, "leaderboards.get_board", board_id=at)
    now = board.seasons[-1]
    shown = (found["season"], found["direction"], found["counting"], found["is_rebuilding"])
    wanted = (len(board.seasons), now.direction, now.counting, board.pending is not None)
    assert shown == wanted, f"{at}: {shown}, the model has {wanted}"
    assert found["default_level"] == board.default_level
    assert found["ranked"] == len(now.ranking()), f"{at}: {found}"
    for number, season in enumerate(board.seasons, 1):
        await _check_season(sim, at, number, season)
    page = await ask(sim, "leaderboards.list_waiting", board_id=at, limit=200)
    waiting = sorted(key for season in board.seasons for key in season.waiting())
    assert [entry["entry_id"] for entry in page["entries"]] == waiting, f"{at}: {waiting}"
    await _check_about_entries(sim, board)


async def _check_season(sim: "Simulator", at: str, number: int, season: NaiveBoard) -> None:
    """See that a season's ranking is the model's: whole, by pages, and around a member."""
    wanted = season.ranking()
    fields: dict[str, Any] = {"board_id": at, "season": number}
    whole = await ask(sim, "leaderboards.list_entries", limit=200, **fields)
    assert rows_of(whole) == wanted, f"{at} season {number}: {rows_of(whole)}, not {wanted}"
    assert whole["total"] == len(wanted)
    offset = sim.chance.randint(0, len(wanted))
    page = await ask(sim, "leaderboards.list_entries", offset=offset, limit=3, **fields)
    assert rows_of(page) == wanted[offset : offset + 3], f"{at} season {number} from {offset}"
    ranked = [row for row in wanted if not sim.model.people[row.member].is_removed]
    if ranked:
        member = sim.chance.choice(ranked).member
        row = next(row for row in wanted if row.member == member)
        rank = await ask(sim, "leaderboards.get_rank", member=member, **fields)
        shown = (rank["place"], rank["score"], rank["entry_id"], rank["total"])
        assert shown == (row.place, row.score, row.entry_id, len(wanted)), f"{at}: {rank}"
        index = wanted.index(row)
        around = await ask(sim, "leaderboards.list_around", member=member, count=1, **fields)
        assert rows_of(around) == wanted[max(0, index - 1) : index + 2], f"{at}: {around}"


def rows_of(page: Body) -> list[Row]:
    """Return what a page of a ranking shows."""
    return [
        Row(row["place"], row["member_id"], row["score"], row["submitted_at_ms"], row["entry_id"])
        for row in page["standings"]
    ]


async def _check_about_entries(sim: "Simulator", board: ModelBoard) -> None:
    """See that each entry has the comments and proofs of the model."""
    rows = sim.world.hall.rows
    for table, known in (("comment", sim.model.comments), ("proof", sim.model.proofs)):
        found = await rows(
            f"""
            SELECT x.entry_id, x.{table}_id FROM leaderboards_{table} AS x
            JOIN leaderboards_entry AS e USING (entry_id) WHERE e.board_id = $1
            """,
            board.board_id,
        )
        entries = board.entries()
        wanted = {(entry, one) for entry in entries for one in known.get(entry, ())}
        assert set(found) == wanted, f"{board.board_id}: {table}s {set(found) ^ wanted}"


# --- access and identity --------------------------------------------------------------------------


async def check_access(sim: "Simulator") -> None:
    """See that members may do what the model says, at some places."""
    access, places = sim.model.access, ["", *(f"board/{one}" for one in sim.model.boards)]
    for person in sim.model.living():
        for _ in range(4):
            permission, at = sim.chance.choice(PERMISSIONS), sim.chance.choice(places)
            access.now_ms = sim.clock.now_ms()
            fields = {"permission": permission, "at": at, "member": person.member_id}
            wanted = access.allows(person.member_id, permission, at)
            for hall in sim.world.halls:
                found = await ask(sim, "access.check", of=hall, **fields)
                assert found["is_allowed"] is wanted, f"{person.name} {permission} at {at!r}"


async def check_sessions(sim: "Simulator") -> None:
    """See that an open session is accepted, and one that has ended never again."""
    now_ms = sim.clock.now_ms()
    for session in list(sim.model.sessions.values()):
        if not session.access_token or now_ms >= session.expires_at_ms:
            continue
        for hall in sim.world.halls:
            reply = await hall.answer("identity.get_self", token=session.access_token)
            name = None if reply.problem is None else reply.problem.name
            if session.is_over:
                assert name is not None, f"session {session.session_id} is over and was accepted"
                assert name != "internal", reply
            else:
                assert name is None, f"session {session.session_id} is open: {name}"
    sql = "SELECT session_id FROM identity_session WHERE ended_at_ms IS NULL"
    found = await sim.world.hall.rows(sql)
    is_open = {one.session_id for one in sim.model.sessions.values() if not one.is_over}
    assert {one for (one,) in found} == is_open, f"open sessions: {found}, not {is_open}"
    for hall in sim.world.halls:
        for connection in hall.hall.house.use(Connections):
            if connection.claims is not None:
                assert connection.claims.session_id in is_open, "a connection outlived its session"


# --- streams and followers ------------------------------------------------------------------------


async def check_streams(sim: "Simulator") -> None:
    """See that the numbers of each stream are gapless and its cursors rise."""
    rows = sim.world.hall.rows
    last: dict[str, int] = {}
    for stream, seq, _cursor in await rows(
        "SELECT stream, seq, cursor FROM action_event ORDER BY cursor"
    ):
        assert seq == last.get(stream, 0) + 1, f"{stream}: {seq} came after {last.get(stream)}"
        last[stream] = seq
    taken: dict[str, int] = dict(await rows("SELECT stream, last_seq FROM action_stream"))
    assert taken == last, f"numbers taken {taken}, numbers written {last}"


async def check_follower(sim: "Simulator", follower: Follower) -> None:
    """Let a follower catch up, and see that it has got every event of its stream once."""
    await sim.sign_in(follower.member_id)
    may = _may_follow(sim, follower)
    if await _go_live(sim, follower):
        await _read_all(sim, follower)
        sim.count("followers to the end")
    else:
        can_sign_in = sim.plan.session_of(follower.member_id) is not None
        assert not (may and can_sign_in), f"{follower} may follow and cannot"
        sim.count("followers without permission")
    await _compare(sim, follower, is_whole=follower.is_live)


async def _go_live(sim: "Simulator", follower: Follower) -> bool:
    """Connect a follower unless it is, as often as its connection breaks; False if it cannot."""
    for hall in sim.world.halls:
        hall.look_after_connections()
    for _ in range(CONNECTS_MAX):
        if follower.is_live:
            return True
        await sim.connect(follower)
    return follower.is_live


async def _read_all(sim: "Simulator", follower: Follower) -> None:
    """Read until nothing has come for a while."""
    quiet = 0
    for _ in range(READS_MAX):
        quiet = 0 if follower.read(10) else quiet + 1
        if quiet > QUIET_TURNS or not await _go_live(sim, follower):
            return
        await asyncio.sleep(sim.world.pause_seconds)
    msg = f"{follower} never catches up"
    raise AssertionError(msg)


def _may_follow(sim: "Simulator", follower: Follower) -> bool:
    """Tell by the model whether a follower may have its feed, and may have feeds at all."""
    access, (permission, at) = sim.model.access, follower.needs
    access.now_ms = sim.clock.now_ms()
    is_there = at == "" or at.partition("/")[2] in sim.model.boards
    wanted = ((permission, at), ("feeds:own", ""))
    return is_there and all(access.allows(follower.member_id, *one) for one in wanted)


async def _compare(sim: "Simulator", follower: Follower, *, is_whole: bool) -> None:
    """Hold what a follower got against the rows: the first of them, or all."""
    if follower.start is None:
        return
    rows = await sim.world.hall.rows(
        "SELECT seq, kind, at_ms, data FROM action_event WHERE stream = $1 AND cursor > $2"
        " ORDER BY seq",
        follower.stream,
        follower.start,
    )
    got = [seq for _, seq in follower.events]
    wanted = [seq for seq, *_ in rows]
    sim.count("events", len(got))
    sim.count("repeats dropped", follower.repeats)
    sim.count("slow readers", follower.slow_ends)
    assert got == (wanted if is_whole else wanted[: len(got)]), f"{follower}: {got}, not {wanted}"
    for seq, kind, at_ms, data in rows[: len(got)]:
        if kind != ERASED_KIND:
            told = msgspec.json.decode(follower.events[follower.stream, seq])["params"]
            shown = (told["kind"], told["at"], told["data"])
            assert shown == (kind, at_ms, msgspec.json.decode(data)), f"{follower}: {seq}"


# --- the database ---------------------------------------------------------------------------------


async def check_database(sim: "Simulator") -> None:
    """See that the file is whole, where there is one."""
    if sim.world.engine != "sqlite":
        return
    rows = sim.world.hall.rows
    assert await rows("PRAGMA integrity_check") == [("ok",)]
    assert await rows("PRAGMA foreign_key_check") == []


async def check_rooms(sim: "Simulator") -> None:
    """See that the checks of all rooms, which the doctor carries out, find nothing.

    But for those of the audit trail, which read files too: :func:`check_audit` verifies it.
    """
    hall = sim.world.hall
    catalog, settings = hall.hall.catalog, hall.settings
    tables = read_hall_tables(settings.tables, catalog.settings)
    key = hall.hall.foundation.sealing_key
    resources = make_resources(settings, catalog, tables, key, sim.clock, SeededEntropy(0))
    for room in catalog.rooms.values():
        for check in room.checks:
            if check.needs_key:
                continue

            async def inspect(tx: Transaction, check: Check = check) -> list[Finding]:
                now_ms = sim.clock.now_ms()
                return await check.handler(
                    Inspection(tx=tx, now_ms=now_ms, resources=resources, is_thorough=True)
                )

            found = await hall.hall.database.read(inspect)
            failed = [one.told for one in found if one.level is Level.FAILED]
            assert failed == [], f"{check.name}: {failed}"


async def repeat_deeds(sim: "Simulator") -> None:
    """Repeat what was done last, wherever, and see that each is done once and answers alike."""
    for deed in sim.deeds[-REPEATED_MAX:]:
        await sim.repeat(deed)
    await sim.world.catch_up()


async def check_audit(sim: "Simulator") -> None:
    """See that the audit trail is whole."""
    await sim.run_job("access.seal_audit")
    report = await ask(sim, "access.verify_audit")
    assert report["next"] is None, report


async def _check_left_over(sim: "Simulator") -> None:
    """See that nothing is kept of who is gone, and of what is long past."""
    await sim.run_job("leaderboards.release_orphaned_proofs")
    sim.clock.advance(3 * DAY_MS)
    for job in SWEEPS:
        await sim.run_job(job)
    for hall in sim.world.halls:
        assert hall.hall.house.use(FeedHub).readers == 0
        assert len(hall.hall.house.use(Connections)) == 0
    for what, sql in {**ORPHANS, **LEFT_OVER}.items():
        assert await sim.world.hall.rows(sql) == [(0,)], what
