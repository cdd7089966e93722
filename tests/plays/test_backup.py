"""A hall under load is backed up, lost, and restored on another machine."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec
import pytest

from moothall.app.foundation import DATABASE_FILE
from moothall.client import CallError, Hall
from tests.plays.conftest import PROGRAM, RunningHall, environment
from tests.plays.kill_load import (
    COUNTING,
    MEMBERS,
    PASSWORD,
    KilledHall,
    Load,
    Write,
    call_once,
    list_entries,
    recount,
    settle_in,
)
from tests.plays.program import run as run_program
from tests.unit.test_docs import ROOT, fences_of

# About the files of a hall on SQLite.
pytestmark = pytest.mark.sqlite

SEED = 14
CONNECTIONS = 8
BACKUPS = 3
GUIDE = ROOT / "docs" / "how-to" / "back-up-and-restore.md"


async def run(*words: object) -> tuple[int, str, str]:
    """Run a command of the program; return exit code, standard output and standard error."""
    done = await asyncio.to_thread(
        run_program, [str(word) for word in words], environment(), timeout=60
    )
    return done.returncode, done.stdout, done.stderr


async def run_well(*words: object) -> Any:
    code, out, told = await run(*words, "--json")
    assert code == 0, f"{words}: {code}\n{out}{told}"
    return msgspec.json.decode(out)


@pytest.fixture
async def halls(tmp_path: Path) -> AsyncIterator[list[KilledHall]]:
    found = [KilledHall(tmp_path / "lost"), KilledHall(tmp_path / "new" / "hall")]
    (tmp_path / "new").mkdir()
    yield found
    for hall in found:
        await hall.leave()


def entries_in(database: Path) -> dict[str, tuple[str, str, float, int, int | None]]:
    """Return board, member, score, time and verification of each entry."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    rows = apsw.Connection(f"file:{database}?immutable=1", flags=flags)
    sql = """
    SELECT entry_id, board_id, member_id, score, submitted_at_ms, verified_at_ms
    FROM leaderboards_entry
    """
    found = {str(row[0]): row[1:] for row in rows.execute(sql)}
    rows.close()
    return found


def check_has(database: Path, writes: list[Write]) -> None:
    """Look whether all that was acknowledged is in a copy."""
    entries = entries_in(database)
    for write in writes:
        if write.action == "leaderboards.submit_score":
            assert write.result["entry_id"] in entries, f"seed {SEED}: {write} is lost"
        else:
            verified_at_ms = entries[write.request["entry_id"]][-1]
            assert verified_at_ms is not None, f"seed {SEED}: {write} is lost"


async def follow_until_told(client: Hall, board: str, seen: asyncio.Queue[Any]) -> None:
    """Follow a board as a program does: when the cursor is lost, fetch anew and go on."""
    after: str | None = None
    while True:
        try:
            async with client.follow(f"board/{board}", after=after) as feed:
                seen.put_nowait(("open", feed.cursor))
                async for event in feed:
                    after = event.cursor
                    seen.put_nowait(("event", event.cursor))
        except CallError as error:
            if error.error_name != "cursor_expired":
                raise
            seen.put_nowait(("expired", after))
            after = "now"


@pytest.mark.timeout(300)  # it starts the program a dozen times, beside a load
@pytest.mark.requirement("R5")
@pytest.mark.requirement("R36")
async def test_a_hall_under_load_comes_back_from_its_last_backup(
    halls: list[KilledHall], tmp_path: Path
) -> None:
    lost, new = halls
    keys = tmp_path / "keys"
    await lost.start()
    load = Load(Random(SEED), boards=[*COUNTING])
    load.tokens = await settle_in(lost)
    running = asyncio.create_task(load.run(lost.port, CONNECTIONS))
    taken: dict[str, Any] = {}
    acknowledged: list[Write] = []
    for number in range(BACKUPS):
        await load.answered(200, running)
        acknowledged = list(load.done)
        backup = tmp_path / f"backup-{number}"
        taken = await run_well("backup", backup, "--data", lost.folder, "--keys", keys)
        await run_well("backup", backup, "--verify")
        check_has(backup / DATABASE_FILE, acknowledged)
    # Writers were never stopped: more was acknowledged while the last one was taken.
    assert len(load.done) > len(acknowledged)
    last = tmp_path / f"backup-{BACKUPS - 1}"
    code, out, told = await run("doctor", "--data", lost.folder, "--json")
    assert code == 0, f"{out}{told}"

    async with Hall(f"http://127.0.0.1:{lost.port}", insecure=True) as client:
        await client.sign_in(MEMBERS[0], PASSWORD)
        seen: asyncio.Queue[Any] = asyncio.Queue()
        following = asyncio.create_task(follow_until_told(client, "every", seen))
        async with asyncio.timeout(30):
            while (found := await seen.get())[0] != "event":
                pass
        following.cancel()
        cursor = found[1]
    await load.answered(100, running)
    await lost.kill()
    await running
    shutil.rmtree(lost.folder)

    restored = await run_well("restore", last, "--data", new.folder, "--keys", keys)
    assert restored["backup_id"] == taken["backup_id"]
    assert restored["epoch"] not in taken["cursor"]
    code, out, told = await run("doctor", "--thorough", "--data", new.folder)
    assert code == 0, f"{out}{told}"

    await new.start()
    for token in load.tokens.values():
        with pytest.raises(AssertionError, match="unauthenticated"):
            await call_once(new.port, "identity.get_self", {}, token)
    async with Hall(f"http://127.0.0.1:{new.port}", insecure=True) as client:
        for name in MEMBERS[1:]:
            await client.sign_in(name, PASSWORD)
        await client.sign_in(MEMBERS[0], PASSWORD)
        kept = entries_in(last / DATABASE_FILE)
        for board, counting in COUNTING.items():
            due = [
                dict(zip(("member_id", "score", "submitted_at_ms"), entry[1:4], strict=True))
                | {"entry_id": entry_id}
                for entry_id, entry in kept.items()
                if entry[0] == board and entry[-1] is not None
            ]
            shown = [
                (each["place"], each["entry_id"], each["score"])
                for each in await list_entries(client, board)
            ]
            assert shown == recount(due, counting)
        report = await client.access.verify_audit()
        assert report["last_sealed_number"] >= taken["audit_sealed_number"]
        with pytest.raises(CallError, match="cursor"):
            async with client.follow("board/every", after=cursor):
                pass
        async with client.follow("board/every", after="now") as feed:
            assert feed.cursor is not None
            assert feed.cursor.startswith(restored["epoch"])
            score = {"board_id": "every", "score": 501.0}
            entry = await client.leaderboards.submit_score(**score)
            await client.leaderboards.verify_entry(entry_id=entry["entry_id"])
            async with asyncio.timeout(30):
                async for event in feed:
                    assert event.cursor.startswith(restored["epoch"])
                    break
    assert await new.stop() == 0
    code, out, told = await run("doctor", "--data", new.folder)
    assert code == 0, f"{out}{told}"


async def test_a_restore_that_is_killed_leaves_no_hall(
    halls: list[KilledHall], tmp_path: Path
) -> None:
    lost, new = halls
    await lost.start()
    await settle_in(lost)
    assert await lost.stop() == 0
    backup, keys = tmp_path / "backup", tmp_path / "keys"
    await run_well("backup", backup, "--data", lost.folder, "--keys", keys)
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *map(str, ("restore", backup, "--data", new.folder, "--keys", keys)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
    )
    parent = new.folder.parent
    async with asyncio.timeout(30):
        # Nothing but the folder itself tells that the hall is open within it.
        while not list(parent.glob(".hall.*.unfinished/hall.lock")):  # noqa: ASYNC110
            await asyncio.sleep(0)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert not new.folder.exists()
    await run_well("restore", backup, "--data", new.folder, "--keys", keys)
    code, out, _ = await run("doctor", "--data", new.folder)
    assert code == 0, out


async def test_exit_codes_tell_scripts_what_happened(
    halls: list[KilledHall], tmp_path: Path
) -> None:
    lost, _ = halls
    await lost.start()
    assert await lost.stop() == 0
    backup = tmp_path / "backup"
    code, out, told = await run("backup", backup, "--data", lost.folder)
    assert code == 0
    assert "holds no key" in told
    assert (await run("backup", backup, "--data", lost.folder))[0] == 78
    code, out, _ = await run("doctor", "--data", lost.folder)
    assert code == 7, out  # nobody has claimed it
    assert re.search(r"^warning +access\.administration: nobody has claimed", out, re.MULTILINE)
    (lost.folder / "sealing.key").unlink()
    code, out, _ = await run("doctor", "--data", lost.folder, "--json")
    assert code == 8
    assert msgspec.json.decode(out)["level"] == "failed"
    content = bytearray((backup / DATABASE_FILE).read_bytes())
    content[5_000] ^= 1
    (backup / DATABASE_FILE).write_bytes(content)
    code, _, told = await run("backup", "--verify", backup)
    assert code == 8
    assert f"{DATABASE_FILE}: it was altered" in told


def test_the_guide_works_as_it_is_written(tmp_path: Path) -> None:
    """Its commands are run as they stand there, but for the folders and the program."""
    hall = RunningHall(tmp_path / "moothall", "--insecure")
    try:
        places = {
            "/srv/moothall": f"{tmp_path}/moothall",
            "/mnt/backup": f"{tmp_path}/backup",
            "/media/keys": f"{tmp_path}/media",
        }
        for folder in ("backup", "media"):
            (tmp_path / folder).mkdir()
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "moothall").write_text(
            "#!/bin/sh\nexec " + f"{PROGRAM[0]} -c '{PROGRAM[2]}' \"$@\"\n"
        )
        (programs / "moothall").chmod(0o700)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        blocks = [fence.text for fence in fences_of(GUIDE) if fence.language == "sh"]
        assert len(blocks) >= 5
        for block in blocks:
            if "systemctl stop" in block:
                hall.stop()
            lines = [line for line in block.splitlines() if "systemctl" not in line]
            script = "\n".join(lines)
            for place, own in places.items():
                script = script.replace(place, own)
            done = subprocess.run(
                ["sh", "-c", script],
                env=environment(PATH=path),
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            # The doctor warns that nobody has claimed the hall.
            assert done.returncode in {0, 7}, f"{script}\n{done.stdout}{done.stderr}"
    finally:
        hall.stop()
