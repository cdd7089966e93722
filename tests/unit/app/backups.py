"""A hall with something in it, and how tests back it up."""

import time
from pathlib import Path
from typing import Any

import apsw

from moothall.app.backup import Taken, take_backup
from moothall.app.config import Settings
from moothall.app.foundation import DATABASE_FILE
from moothall.app.heads import HEADS_FILE
from moothall.app.manifest import Advance
from moothall.testing import ManualClock, OpenHall, Visitor
from moothall.testing.hall import ISSUER

BOARD = "any-percent"


def wall_clock() -> ManualClock:
    """Return a clock that agrees with the machine's, which backups and the doctor read."""
    return ManualClock(time.time_ns() // 1_000_000)


def ignore(_bytes: int) -> None:
    """Show no progress."""


def settings_of(data: Path, **more: Any) -> Settings:
    return Settings(**{"data": str(data), "public_url": ISSUER, **more})


async def furnish(hall: OpenHall) -> tuple[Visitor, list[Visitor]]:
    """Let an administrator and three members in, who play on a board; seal and sign all of it."""
    boss = await hall.administrator()
    board = {
        "board_id": BOARD,
        "name": "Any %",
        "direction": "descending",
        "counting": "best",
        "default_level": "write",
    }
    await hall.call("leaderboards.create_board", board, as_=boss)
    members = [await hall.member(name) for name in ("ada", "bo", "cy")]
    for number, member in enumerate(members):
        for score in (number, number + 10):
            submitted = await hall.call(
                "leaderboards.submit_score", {"board_id": BOARD, "score": score}, as_=member
            )
            entry = {"entry_id": submitted.entry_id}
            await hall.call("leaderboards.verify_entry", entry, as_=boss)
    await vouch(hall)
    return boss, members


async def vouch(hall: OpenHall) -> None:
    """Seal the audit trail and sign its head."""
    await hall.run_job("access.seal_audit")
    await hall.run_job("access.publish_head")


def back_up(
    data: Path, destination: Path, keys: Path | None = None, advance: Advance = ignore
) -> Taken:
    return take_backup(data, data / HEADS_FILE, destination, keys, advance)


def alter(data: Path, *statements: str) -> None:
    """Change rows behind the hall's back."""
    connection = apsw.Connection(str(data / DATABASE_FILE))
    for sql in statements:
        connection.execute(sql).fetchall()
    connection.close()


def ask(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """Read rows of a file that nobody writes."""
    connection = apsw.Connection(
        f"file:{file}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def modes_of(folder: Path) -> set[str]:
    return {f"{path.stat().st_mode & 0o777:o}" for path in [folder, *folder.rglob("*")]}
