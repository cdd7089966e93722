"""Opening a hall: all of it, or a message that says what to mend."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from moothall.app import compose
from moothall.app.compose import LOCK_FILE, Hall, open_hall
from moothall.app.config import Settings
from moothall.app.foundation import DATABASE_FILE, KEY_FILE
from moothall.core.errors import ConfigurationError
from moothall.storage.sqlite import SqliteDatabase
from moothall.testing import ProblemError, open_test_hall
from tests.contract.databases import never
from tests.unit.action.scenes import GOOD, write_room


@asynccontextmanager
async def open_first(folder: Path) -> AsyncIterator[Hall]:
    """Open a hall as the program does; in a folder that the test kit has not prepared."""
    hall = await open_hall(Settings(data=str(folder / "hall")), on_sync_failure=never)
    yield hall
    await hall.close()


@pytest.mark.requirement("R40")
async def test_a_room_of_ones_own_is_served(tmp_path: Path) -> None:
    write_room(tmp_path, "shop_s")
    async with open_test_hall(tmp_path, functions=[tmp_path]) as hall:
        assert (await hall.call("shop_s.do_thing", {"number": 7})).number == 7
        with pytest.raises(ProblemError) as refused:
            await hall.call("shop_s.do_thing", {"numbr": 7})
        assert refused.value.details["remedy"] == "did you mean number?"


@pytest.mark.requirement("R5", "R36")
async def test_a_hall_that_is_opened_again_knows_its_members(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        ada, bob = await hall.member("ada"), await hall.member("bob")
        await hall.call("identity.close_session", as_=bob)
        clock = hall.clock
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert (await hall.call("identity.get_self", as_=ada)).name == "ada"
        with pytest.raises(ProblemError, match="the session has ended"):
            await hall.call("identity.get_self", as_=bob)


async def test_a_token_of_another_hall_is_refused(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path / "a") as one, open_test_hall(tmp_path / "b") as other:
        ada = await one.member("ada")
        with pytest.raises(ProblemError, match="unauthenticated"):
            await other.call("identity.get_self", as_=ada)


@pytest.mark.requirement("R11")
async def test_there_is_one_first_administrator(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        await hall.administrator()
        bob = await hall.member("bob")
        with pytest.raises(ProblemError) as refused:
            await hall.call("access.claim_administration", {"secret": "x"}, as_=bob)
        assert refused.value.name == "administration_claimed"


async def test_a_folder_has_one_hall(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path):
        with pytest.raises(ConfigurationError, match="is in use by another hall"):
            async with open_test_hall(tmp_path):
                pass
    async with open_test_hall(tmp_path):
        pass


@pytest.mark.requirement("R36")
async def test_a_lost_key_is_told_and_nothing_is_made_instead(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        ada, clock = await hall.member("ada"), hall.clock
    key = tmp_path / "hall" / KEY_FILE
    key.rename(tmp_path / "kept.key")
    with pytest.raises(ConfigurationError, match=r"sealing\.key: .* restore it from your backup"):
        async with open_test_hall(tmp_path):
            pass
    assert not key.exists()
    (tmp_path / "kept.key").rename(key)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert (await hall.call("identity.get_self", as_=ada)).name == "ada"


async def test_the_key_is_on_disk_before_there_is_a_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "hall" / KEY_FILE

    def cut(path: Path, **_rest: object) -> NoReturn:
        assert key.stat().st_size == 65
        assert not path.exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SqliteDatabase, "open", cut)
        with pytest.raises(KeyboardInterrupt):
            async with open_first(tmp_path):
                pass
    text = key.read_text()
    async with open_first(tmp_path):
        assert key.read_text() == text


@pytest.fixture
def careless() -> Iterator[None]:
    """Let the process make files for everybody, where it does not say otherwise."""
    before = os.umask(0o000)
    yield
    os.umask(before)


def modes_in(folder: Path) -> dict[str, str]:
    return {file.name: oct(file.stat().st_mode & 0o777) for file in folder.iterdir()}


FILES = {DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm", KEY_FILE, LOCK_FILE}


@pytest.mark.usefixtures("careless")
async def test_only_its_owner_can_read_a_hall(tmp_path: Path) -> None:
    async with open_first(tmp_path):
        assert modes_in(tmp_path / "hall") == dict.fromkeys(FILES, "0o600")
    assert (tmp_path / "hall").stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("careless")
async def test_files_of_an_older_hall_are_closed_to_others(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path):
        for name in FILES - {KEY_FILE}:
            (tmp_path / "hall" / name).chmod(0o644)
        # As a hall that was killed leaves them.
        shutil.copytree(tmp_path / "hall", tmp_path / "killed" / "hall")
    async with open_test_hall(tmp_path / "killed"):
        assert modes_in(tmp_path / "killed" / "hall") == dict.fromkeys(FILES, "0o600")


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o710, 0o701, 0o702])
async def test_a_folder_that_others_may_look_into_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "my data" / "hall"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(ConfigurationError) as refused:
        async with open_test_hall(tmp_path / "my data"):
            pass
    assert f"run: chmod 700 '{folder}'" in str(refused.value)
    assert list(folder.iterdir()) == []
    folder.chmod(0o700)
    async with open_test_hall(tmp_path / "my data"):
        pass


async def test_the_name_of_a_new_folder_is_synced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(compose, "sync_path", synced.append)
    async with open_first(tmp_path / "a" / "b"):
        assert set(synced) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
        synced.clear()
    async with open_first(tmp_path / "a" / "b"):
        assert synced == []


async def test_a_declaration_that_is_wrong_leaves_no_data(tmp_path: Path) -> None:
    write_room(tmp_path, "shop_t", actions=GOOD.replace("raises=()", ""))
    with pytest.raises(ConfigurationError, match="lacks raises"):
        async with open_test_hall(tmp_path, functions=[tmp_path / "shop_t"]):
            pass
    assert not (tmp_path / "hall" / DATABASE_FILE).exists()
