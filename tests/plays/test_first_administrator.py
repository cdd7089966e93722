"""A fresh hall and the people who would like to be its first administrator."""

import asyncio
import os
import re
import stat
from pathlib import Path

import apsw
import pytest

from moothall.app.config import Settings
from moothall.services.access.actions import digest_secret
from moothall.services.access.store import renew_claim
from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall
from moothall.testing.postgres import prepare_database
from tests.servers.postgres import HALLS_VARIABLE, run_sql

SECRET = "5f0c1e7a9b2d4c6e8f1a3b5c7d9e0f2a"


async def show_secret(hall: OpenHall, secret: str = SECRET) -> bool:
    """Do what the hall does at each start; False if nobody needs a secret any more."""
    now_ms = hall.clock.now_ms()
    digest = digest_secret(secret)
    return await hall.hall.database.write(lambda tx: renew_claim(tx, digest, now_ms))


async def claim(hall: OpenHall, who: Visitor, secret: str = SECRET) -> str:
    """Return what came of it: ``won``, or the name of the problem."""
    reply = await hall.answer("access.claim_administration", {"secret": secret}, token=who.token)
    return reply.problem.name if reply.problem else "won"


async def is_administrator(hall: OpenHall, who: Visitor) -> bool:
    answer = await hall.call("access.check", {"permission": "*"}, as_=who)
    return bool(answer.is_allowed)


@pytest.mark.requirement("R11")
async def test_of_twenty_who_know_the_secret_exactly_one_wins(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        await show_secret(hall)
        people = [await hall.member(f"member{number}") for number in range(20)]
        outcomes = await asyncio.gather(*(claim(hall, person) for person in people))
        assert sorted(outcomes) == ["administration_claimed"] * 19 + ["won"]
        held = [await is_administrator(hall, person) for person in people]
        assert held == [outcome == "won" for outcome in outcomes]
        winner = people[outcomes.index("won")]
        bound = await hall.rows("SELECT subject, path, role FROM access_binding")
        assert bound == [(winner.member_id, "", "administrator")]
        assert [event.kind for event in await hall.events("access")] == ["access.role_granted"]


@pytest.mark.requirement("R11")
@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        SECRET[:-1],
        SECRET + "0",
        SECRET.upper(),
        digest_secret(SECRET),
        "e3b0c44298fc1c14",
        " ",
    ],
)
async def test_wrong_secret_makes_nobody_administrator(tmp_path: Path, wrong: str) -> None:
    async with open_test_hall(tmp_path) as hall:
        eve = await hall.member("eve")
        assert await claim(hall, eve, wrong) == "wrong_secret", "no secret was shown yet"
        await show_secret(hall)
        with pytest.raises(ProblemError) as refusal:
            await hall.call("access.claim_administration", {"secret": wrong}, as_=eve)
        assert (refusal.value.code, refusal.value.name) == ("permission_denied", "wrong_secret")
        assert refusal.value.details["remedy"]
        assert not await is_administrator(hall, eve)
        assert await claim(hall, eve) == "won", "a mistake costs only another try"
        assert await is_administrator(hall, eve)


@pytest.mark.requirement("R11")
async def test_guessing_is_throttled(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path, limits_scale=1.0) as hall:
        await show_secret(hall)
        eve = await hall.member("eve")
        outcomes = [await claim(hall, eve, f"guess {number}") for number in range(10)]
        assert outcomes == ["wrong_secret"] * 5 + ["rate_limited"] * 5


@pytest.mark.requirement("R11")
async def test_stranger_without_an_account_cannot_claim(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        await show_secret(hall)
        with pytest.raises(ProblemError) as refusal:
            await hall.call("access.claim_administration", {"secret": SECRET})
        assert refusal.value.code == "unauthenticated"


@pytest.mark.requirement("R11")
async def test_secret_works_once_and_never_again(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        await show_secret(hall, "an older secret, of a start before this one")
        await show_secret(hall)
        boss, eve = await hall.member("boss"), await hall.member("eve")
        assert (
            await claim(hall, boss, "an older secret, of a start before this one") == "wrong_secret"
        )
        assert await claim(hall, boss, f"  {SECRET}\n") == "won", "as it is pasted"
        assert await claim(hall, boss) == "administration_claimed"
    async with open_test_hall(tmp_path) as hall:
        assert not await show_secret(hall), "the hall has its administrator"
        assert await claim(hall, eve) == "administration_claimed"
        assert await is_administrator(hall, boss)
        assert not await is_administrator(hall, eve)


@pytest.mark.sqlite  # it reads the file
@pytest.mark.requirement("R11")
async def test_only_a_digest_of_the_secret_rests_in_the_data(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        await show_secret(hall)
        boss = await hall.member("boss")
        await claim(hall, boss, "a secret that is wrong")
        await claim(hall, boss)
        content = read_all(tmp_path)
    assert digest_secret(SECRET).encode() in content
    assert SECRET.encode() not in content
    assert b"a secret that is wrong" not in content
    for file in (tmp_path / "hall").rglob("*.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def read_all(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


@pytest.mark.requirement("R24")
async def test_attempts_and_success_are_in_the_audit_trail(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        await show_secret(hall)
        boss, eve = await hall.member("boss"), await hall.member("eve")
        await claim(hall, eve, "wrong")
        await claim(hall, boss)
        rows = await hall.rows(
            "SELECT actor, outcome FROM access_audit "
            "WHERE action = 'access.claim_administration' ORDER BY number"
        )
        assert rows == [(eve.member_id, "wrong_secret"), (boss.member_id, "done")]


@pytest.mark.requirement("R11")
async def test_whoever_holds_the_files_lets_somebody_claim_again_and_it_shows(
    tmp_path: Path,
) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "run-sign-in.md"
    found = re.search(r"UPDATE access_claim SET [^\"]+", page.read_text("utf-8"))
    assert found is not None
    async with open_test_hall(tmp_path) as hall:
        await show_secret(hall)
        gone, ann = await hall.member("gone"), await hall.member("ann")
        await claim(hall, gone)
        await hall.run_job("access.seal_audit")
    if (server := os.environ.get(HALLS_VARIABLE)) is not None:
        run_sql(await prepare_database(Settings(data=str(tmp_path / "hall")), server), found[0])
    else:
        connection = apsw.Connection(str(tmp_path / "hall" / "hall.sqlite"))
        connection.execute(found[0])
        connection.close()
    async with open_test_hall(tmp_path) as hall:
        assert await show_secret(hall, "another one")
        assert await claim(hall, ann) == "wrong_secret", "the old one opens nothing"
        assert await claim(hall, ann, "another one") == "won"
        assert await is_administrator(hall, ann)
        rows = await hall.rows(
            "SELECT actor FROM access_audit WHERE action = 'access.claim_administration'"
            " AND outcome = 'done' ORDER BY number"
        )
        assert rows == [(gone.member_id,), (ann.member_id,)]
        await hall.run_job("access.seal_audit")
        report = await hall.call("access.verify_audit", as_=ann)  # refused if it is not whole
        assert report.rows_checked > len(rows)
