"""Fills a hall by the code of an older commit, and writes it down as SQL; run by hand.

    git archive COMMIT src | tar -x -C OLD
    PYTHONPATH=OLD/src .venv/bin/python tests/plays/older/fill.py > tests/plays/older/COMMIT.sql

``test_upgrade`` opens what it wrote with the code of today. It uses only what every commit
since the first halls has.
"""

import asyncio
import contextlib
import sqlite3
import sys
import tempfile
from pathlib import Path

from moothall.testing import open_test_hall

NAMES = ("ada", "bo", "cy", "dee")
BOARDS = {"every": "every", "best": "best"}


async def fill(folder: Path) -> None:
    """Let four members play on two boards, with ties, entries that wait and ones taken back."""
    async with open_test_hall(folder, seed=1) as hall:
        boss = await hall.administrator("boss")
        members = [await hall.member(name) for name in NAMES]
        role = {"name": "greeter", "permissions": ["members:read"]}
        grant = {"role": "greeter", "at": ""}
        for action, request in (
            ("access.define_role", role),
            ("access.grant_role", {**grant, "member": members[0].member_id}),
            ("access.grant_role", {**grant, "subject": members[0].member_id}),  # its later name
        ):
            await hall.answer(action, request, token=boss.token)
        for board, counting in BOARDS.items():
            made = {
                "board_id": board,
                "name": f"The {board} board",
                "direction": "descending",
                "counting": counting,
                "default_level": "write",
            }
            reply = await hall.answer("leaderboards.create_board", made, token=boss.token)
            if reply.problem is not None:
                raise SystemExit(str(reply.problem))
            for number, member in enumerate(members * 3):
                score = {"board_id": board, "score": (number * 7) % 10, "description": "a run"}
                submitted = await hall.call("leaderboards.submit_score", score, as_=member)
                if number % 4 != 3:
                    entry = {"entry_id": submitted.entry_id}
                    await hall.call("leaderboards.verify_entry", entry, as_=boss)
        for job in ("access.seal_audit", "access.publish_head"):
            with contextlib.suppress(AttributeError, KeyError):  # there were none at first
                await hall.run_job(job)


def main() -> None:
    """Write key and rows to standard output."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(fill(Path(folder)))
        data = Path(folder) / "hall"
        heads = data / "audit-heads.jsonl"
        lines = ["-- sealing key: " + (data / "sealing.key").read_text().strip()]
        if heads.exists():
            lines += [f"-- head: {line}" for line in heads.read_text().splitlines()]
        with sqlite3.connect(data / "hall.sqlite") as rows:
            # Before all keys: SQLite reads no infinity, but a number too large to be one.
            lines += [line.replace(",-Inf,", ",-9e999,") for line in rows.iterdump()]
        sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
