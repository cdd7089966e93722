"""What a power cut left is opened as a hall, and held against what had been promised."""

import hashlib
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from moothall.core.codes import Code
from moothall.testing import ManualClock, OpenHall, open_test_hall

REPEATED_MAX = 12
"""Answered calls that are made again in each image; the last ones, which are most in danger."""

BOARDS = ("every", "best")
"""Boards of a story, each named after how its scores count."""

_decode = msgspec.json.decode


@dataclass
class Deed:
    """A call, and the answer to it once there is one."""

    action: str
    request: bytes
    token: str | None = field(repr=False)
    key: str | None
    reply: bytes | None = None


@dataclass(frozen=True)
class Promise:
    """A cut, and what the hall had promised before it."""

    folder: Path
    """Its image is in ``folder / "hall"``."""
    moment: str
    answered: tuple[Deed, ...]
    begun: tuple[Deed, ...]
    pushed: tuple[str, ...]
    """Cursors of events that a connection had received."""
    now_ms: int


async def check_image(promise: Promise) -> int:
    """Open what was left, and compare; return how many calls were made again."""
    async with open_test_hall(promise.folder, clock=ManualClock(promise.now_ms)) as hall:
        await _check_file(hall)
        if not promise.begun:
            await hall.member("somebody")
            return 0
        await _check_answers(hall, promise)
        await _check_sessions(hall, promise)
        await _check_bindings(hall, promise)
        await _check_files(hall, promise)
        repeated = await _repeat(hall, promise)
        await _check_ranks(hall)
        await _check_file(hall)
        await _check_audit(hall, promise)
    return repeated


async def _check_file(hall: OpenHall) -> None:
    """Look at the file itself, and at the numbers of the streams."""
    assert await hall.rows("PRAGMA integrity_check") == [("ok",)]
    assert await hall.rows("PRAGMA foreign_key_check") == []
    streams = await hall.rows("SELECT stream, last_seq FROM action_stream")
    counted = await hall.rows(
        "SELECT stream, max(seq), count(*), min(seq) FROM action_event GROUP BY stream"
    )
    for stream, last, count, first in counted:
        assert (first, last) == (1, count), f"{stream} has gaps"
    assert dict(streams) == {stream: last for stream, last, *_ in counted}


async def _check_answers(hall: OpenHall, promise: Promise) -> None:
    """Each keyed call that was answered is known, with its answer; each event pushed is there."""
    rows = await hall.rows("SELECT key, reply FROM action_reply")
    known: dict[str, str] = dict(rows)
    for deed in promise.answered:
        if deed.key is not None:
            assert deed.reply is not None
            assert known.get(deed.key) == deed.reply.decode(), f"lost: {deed}"
    # Nothing is there that nobody asked for.
    assert set(known) <= {deed.key for deed in promise.begun}
    numbers = {
        hall.cursor(number) for (number,) in await hall.rows("SELECT cursor FROM action_event")
    }
    assert set(promise.pushed) <= numbers, "an event was pushed and is not there"


async def _check_sessions(hall: OpenHall, promise: Promise) -> None:
    """A session that was opened serves, and one that was closed does not."""
    closing = {d.token for d in promise.begun if d.action == "identity.close_session"}
    for deed in promise.answered:
        if deed.action == "identity.close_session":
            reply = await hall.answer("identity.get_self", token=deed.token)
            assert reply.problem is not None, f"a closed session revived: {deed}"
            assert reply.problem.code == Code.UNAUTHENTICATED
        elif deed.action == "identity.open_session" and deed.token not in closing:
            reply = await hall.answer("identity.get_self", token=deed.token)
            assert reply.problem is None, f"{deed}: {reply.problem}"


async def _check_bindings(hall: OpenHall, promise: Promise) -> None:
    """What was granted last, or revoked last, is so, unless the next change was under way."""
    rows = await hall.rows("SELECT path FROM access_binding")
    paths = {path for (path,) in rows}
    expected: dict[str, bool] = {}
    for deed in promise.answered:
        if deed.action in ("access.grant_role", "access.revoke_role"):
            expected[_decode(deed.request)["at"]] = deed.action == "access.grant_role"
    known = {id(deed) for deed in promise.answered}
    for deed in promise.begun:
        if id(deed) not in known and deed.action.startswith("access."):
            expected.pop(_decode(deed.request)["at"], None)
    for path, is_granted in expected.items():
        assert (path in paths) is is_granted, path


async def _check_files(hall: OpenHall, promise: Promise) -> None:
    """What was uploaded is there to the last byte."""
    rows = await hall.rows("SELECT blob_id, data FROM files_chunk")
    kept = {hashlib.sha256(data).hexdigest() for _, data in rows}
    for deed in promise.answered:
        if deed.action == "files.put_chunk":
            request = _decode(deed.request)
            assert request["sha256"] in kept
            data = b64decode(request["data"])
            assert hashlib.sha256(data).hexdigest() == request["sha256"]


async def _repeat(hall: OpenHall, promise: Promise) -> int:
    """Make calls again with their keys: the same answer, and no second effect."""
    closing = {d.token for d in promise.begun if d.action == "identity.close_session"}
    answered = {id(deed) for deed in promise.answered}
    keyed = [d for d in promise.begun if d.key is not None and d.token not in closing]
    lost = [deed for deed in keyed if id(deed) not in answered]
    known = [deed for deed in keyed if id(deed) in answered][-REPEATED_MAX:]
    for deed in known:
        reply = await hall.answer(deed.action, deed.request, token=deed.token, key=deed.key)
        assert reply.body == deed.reply, f"{deed}: {reply}"
    for deed in lost:
        first = await hall.answer(deed.action, deed.request, token=deed.token, key=deed.key)
        assert first.body is not None, f"{deed}: {first.problem}"
        second = await hall.answer(deed.action, deed.request, token=deed.token, key=deed.key)
        assert first.body == second.body
    twice = await hall.rows(
        "SELECT text FROM leaderboards_comment GROUP BY text HAVING count(*) > 1"
    )
    assert twice == []
    doings = (
        "SELECT count(*) FROM access_audit WHERE action = 'leaderboards.submit_score'",
        "SELECT count(*) FROM action_reply WHERE action = 'leaderboards.submit_score'",
    )
    (audited,), (remembered,) = [(await hall.rows(sql))[0] for sql in doings]
    assert audited == remembered
    return len(known) + 2 * len(lost)


async def _check_ranks(hall: OpenHall) -> None:
    """Each ranking is what its entries say."""
    boss = await hall.sign_in("boss")
    for (board,) in await hall.rows("SELECT board_id FROM leaderboards_board"):
        page = await hall.call(
            "leaderboards.list_entries", {"board_id": board, "limit": 200}, as_=boss
        )
        rows = await hall.rows(
            "SELECT -score, submitted_at_ms, entry_id, member_id FROM leaderboards_entry "
            "WHERE board_id = $1 AND verified_at_ms IS NOT NULL ORDER BY 1, 2, 3",
            board,
        )
        assert len(rows) <= 200
        found = [(row.place, row.entry_id) for row in page.standings]
        assert found == recount(rows, is_best=board == "best"), board
        assert page.total == len(found)


def recount(rows: list[Any], *, is_best: bool) -> list[tuple[int, str]]:
    """Return (place, entry) of a ranking from its entries alone, best first."""
    if is_best:
        best: dict[str, Any] = {}
        for row in rows:
            best.setdefault(row[3], row)
        rows = list(best.values())
    return [(1 + sum(other[0] < row[0] for other in rows), row[2]) for row in rows]


async def _check_audit(hall: OpenHall, promise: Promise) -> None:
    """The chain is whole, goes on, and has a row for what was answered."""
    boss = await hall.sign_in("boss")
    for job in ("access.seal_audit", "access.publish_head"):
        await hall.run_job(job)
    checked = await hall.call("access.verify_audit", {}, as_=boss)
    assert checked.rows_checked > len(promise.answered)
    assert checked.numbers_skipped == 0
