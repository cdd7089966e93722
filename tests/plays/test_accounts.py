"""Accounts, from the first sign-in over a restart to the last one, with passwords at full cost."""

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher as Argon2

from moothall.core.errors import ConfigurationError
from moothall.ports.hasher import PasswordHasher
from moothall.services.identity.adapters.hashing import Argon2Pool
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall
from tests.servers.postgres import binaries

PASSWORD = "correct horse battery staple"
ALICE = {"name": "Alice", "password": PASSWORD}


@asynccontextmanager
async def open_house(folder: Path, clock: ManualClock | None = None) -> AsyncIterator[OpenHall]:
    """Open a hall that hashes passwords as a hall in use does."""
    async with open_test_hall(folder, clock=clock) as hall:
        hall.hall.house.ports[PasswordHasher] = Argon2Pool()  # type: ignore[index]
        yield hall


async def sign_in(hall: OpenHall, password: str = PASSWORD) -> Any:
    return await hall.call("identity.open_session", {"name": "alice", "password": password})


def bearer(opened: Any) -> Visitor:
    return Visitor(opened.member_id, opened.name, opened.session_id, opened.access_token)


async def greets(hall: OpenHall, opened: Any) -> bool:
    """Tell whether the hall knows the bearer of these tokens."""
    reply = await hall.answer("identity.get_self", token=opened.access_token)
    return reply.problem is None


@pytest.mark.requirement("R6")
async def test_nothing_of_a_password_rests_in_plain_text(tmp_path: Path) -> None:
    async with open_house(tmp_path) as hall:
        await hall.call("identity.register", ALICE)
        opened = await sign_in(hall)
        with pytest.raises(ProblemError):
            await sign_in(hall, "a password that is wrong")
        again = await hall.call("identity.refresh_session", {"refresh_token": opened.refresh_token})
        [(known,)] = await hall.rows("SELECT password_hash FROM identity_member")
        assert known.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        rows = dump(hall)
        while_open = read_all(tmp_path, rows)
    secrets = [PASSWORD, "a password that is wrong"]
    for tokens in (opened, again):
        secrets += [tokens.refresh_token, tokens.access_token]
        secrets += [tokens.refresh_token.rpartition(".")[2], tokens.access_token.rpartition(".")[2]]
    for files in (while_open, read_all(tmp_path, rows)):
        assert b"Alice" in b"".join(files.values()), "the files are those that hold the account"
        for secret in secrets:
            found = [name for name, content in files.items() if secret.encode() in content]
            assert found == [], secret[:8]


def read_all(folder: Path, rows: bytes = b"") -> dict[str, bytes]:
    """Return what lies in the folder, and the rows that lie elsewhere."""
    files = {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return {**files, "rows": rows}


def dump(hall: OpenHall) -> bytes:
    """Return all rows of a hall that keeps them elsewhere."""
    address = hall.settings.database
    if not address:
        return b""
    return subprocess.run([binaries() / "pg_dump", address], check=True, capture_output=True).stdout


@pytest.mark.requirement("R1")
async def test_full_hasher_lets_in_the_right_password_only(tmp_path: Path) -> None:
    async with open_house(tmp_path) as hall:
        await hall.call("identity.register", ALICE)
        assert (await sign_in(hall)).name == "Alice"
        for wrong in (PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], "x"):
            with pytest.raises(ProblemError, match="wrong_credentials"):
                await sign_in(hall, wrong)
            assert await sign_in(hall), "and the wrong one before is forgiven"


@pytest.mark.requirement("R6")
async def test_hash_of_weaker_days_is_renewed_by_the_next_sign_in(tmp_path: Path) -> None:
    async with open_house(tmp_path) as hall:
        await hall.call("identity.register", ALICE)
        weak = Argon2(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        await hall.hall.database.write(
            lambda tx: tx.execute("UPDATE identity_member SET password_hash = $1", weak)
        )
        await sign_in(hall)
        [(renewed,)] = await hall.rows("SELECT password_hash FROM identity_member")
        assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert await sign_in(hall)


@pytest.mark.requirement("R5")
async def test_restart_keeps_open_sessions_and_forgives_no_closed_one(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_house(tmp_path, clock) as hall:
        await hall.call("identity.register", ALICE)
        kept, closed = await sign_in(hall), await sign_in(hall)
        stolen = await sign_in(hall)
        await hall.call("identity.close_session", as_=bearer(closed))
        newest = await hall.call(
            "identity.refresh_session", {"refresh_token": stolen.refresh_token}
        )
        clock.advance(60_000)
        with pytest.raises(ProblemError, match="session_ended"):
            await hall.call("identity.refresh_session", {"refresh_token": stolen.refresh_token})
        published = hall.hall.public_jwks()
    clock.advance(60_000)
    async with open_house(tmp_path, clock) as hall:
        assert [await greets(hall, tokens) for tokens in (kept, closed, stolen, newest)] == [
            True,
            False,
            False,
            False,
        ]
        assert hall.hall.public_jwks() == published, "keys survive"
        assert "d" not in json.loads(published)["keys"][0]
        await hall.call("identity.refresh_session", {"refresh_token": kept.refresh_token})
        for tokens in (closed, newest):
            with pytest.raises(ProblemError, match="session_ended"):
                await hall.call("identity.refresh_session", {"refresh_token": tokens.refresh_token})


@pytest.mark.requirement("R5")
async def test_clock_that_is_set_back_revives_no_session(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_house(tmp_path, clock) as hall:
        await hall.call("identity.register", ALICE)
        opened = await sign_in(hall)
        clock.set_wall(clock.now_ms() - 240_000)
        assert not await greets(hall, opened), "a token from the future is nobody's"
        clock.set_wall(clock.now_ms() + 240_000)
        await hall.call("identity.close_session", as_=bearer(opened))
    clock.set_wall(clock.now_ms() - 200_000)
    async with open_house(tmp_path, clock) as hall:
        clock.set_wall(clock.now_ms() + 200_000)
        assert not await greets(hall, opened)


@pytest.mark.requirement("R2")
async def test_hall_does_not_open_with_another_sealing_key(tmp_path: Path) -> None:
    async with open_house(tmp_path) as hall:
        await hall.call("identity.register", ALICE)
        opened = await sign_in(hall)
    file = tmp_path / "hall" / "sealing.key"
    right = file.read_text("ascii")
    file.write_text("00" * 32 + "\n", "ascii")
    with pytest.raises(ConfigurationError, match=r"restore the key file|sealing key of this node"):
        async with open_house(tmp_path):
            pass
    file.write_text(right, "ascii")
    async with open_house(tmp_path) as hall:
        assert await greets(hall, opened), "the attempt damaged nothing"


@pytest.mark.requirement("R2")
async def test_token_of_another_hall_is_refused(tmp_path: Path) -> None:
    async with open_house(tmp_path / "a") as hall, open_house(tmp_path / "b") as other:
        for one in (hall, other):
            await one.call("identity.register", ALICE)
        opened, foreign = await sign_in(hall), await sign_in(other)
        assert await greets(hall, opened)
        assert not await greets(hall, foreign)
        with pytest.raises(ProblemError, match="session_ended"):
            await hall.call("identity.refresh_session", {"refresh_token": foreign.refresh_token})
