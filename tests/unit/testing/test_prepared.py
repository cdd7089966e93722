"""Where a test hall begins: with what a hall makes by itself, and with nothing of another one's."""

from pathlib import Path

import pytest

from moothall.app.compose import open_hall
from moothall.app.config import Settings
from moothall.app.foundation import KEY_FILE
from moothall.core.errors import ConfigurationError
from moothall.ports.database import Row, Transaction
from moothall.testing import ManualClock, SeededEntropy, open_test_hall, prepared
from moothall.testing.prepared import FILES_MAX, prepare_folder
from tests.contract.databases import never
from tests.unit.action.scenes import forget_rooms, write_room

SCHEMA = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
STEPS = "SELECT room, number, name, digest, applied_at_ms FROM action_migration"
EPOCH = "SELECT epoch FROM action_epoch"


async def rows_of(settings: Settings, *questions: str) -> list[list[Row]]:
    """Open the hall as the program does, and ask its database."""

    async def ask(tx: Transaction) -> list[list[Row]]:
        return [await tx.fetch_all(sql) for sql in questions]

    clock, entropy = ManualClock(), SeededEntropy(1)
    hall = await open_hall(settings, clock=clock, entropy=entropy, on_sync_failure=never)
    try:
        return await hall.database.read(ask)
    finally:
        await hall.close()


async def test_a_prepared_folder_is_what_the_program_makes(tmp_path: Path) -> None:
    own, copied = (Settings(data=str(tmp_path / name)) for name in ("own", "copied"))
    await prepare_folder(copied, SeededEntropy(1))
    # Looked at before the hall is opened, which would mend what is open to others.
    modes = [file.stat().st_mode & 0o777 for file in copied.data_path.iterdir()]
    assert modes == [0o600, 0o600]
    assert copied.data_path.stat().st_mode & 0o777 == 0o700
    assert await rows_of(copied, SCHEMA, STEPS) == await rows_of(own, SCHEMA, STEPS)
    assert (copied.data_path / KEY_FILE).read_text() == (own.data_path / KEY_FILE).read_text()


async def test_halls_have_nothing_of_each_other(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path / "a") as one, open_test_hall(tmp_path / "b") as other:
        await one.member("ada")
        assert await other.rows("SELECT * FROM identity_member") == []
        assert await one.rows(EPOCH) != await other.rows(EPOCH)
        assert one.hall.public_jwks() != other.hall.public_jwks()
    keys = {(tmp_path / name / "hall" / KEY_FILE).read_text() for name in "ab"}
    assert len(keys) == 2


async def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "hall").mkdir()
    await prepare_folder(Settings(data=str(tmp_path / "hall")), SeededEntropy(1))
    assert list((tmp_path / "hall").iterdir()) == []


async def test_each_text_of_a_migration_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "_files", {})
    with forget_rooms(tmp_path):
        migrations = write_room(tmp_path, "shop_prepared") / "migrations"
        migrations.mkdir()
        for number in range(FILES_MAX + 2):
            sql = f"CREATE TABLE shop_prepared_{number} (id INTEGER)"
            (migrations / "0001_things.sql").write_text(sql)
            folder = tmp_path / f"hall{number}"
            async with open_test_hall(folder, functions=[tmp_path / "shop_prepared"]) as hall:
                assert await hall.rows(f"SELECT * FROM shop_prepared_{number}") == []
            assert len(prepared._files) <= FILES_MAX


async def test_a_migration_that_cannot_be_makes_no_folder(tmp_path: Path) -> None:
    with forget_rooms(tmp_path):
        migrations = write_room(tmp_path, "shop_broken") / "migrations"
        migrations.mkdir()
        (migrations / "0002_things.sql").write_text("SELECT 1")
        with pytest.raises(ConfigurationError, match=r"shop_broken: .*without a gap"):
            async with open_test_hall(tmp_path, functions=[tmp_path / "shop_broken"]):
                pass
    assert not (tmp_path / "hall").exists()
