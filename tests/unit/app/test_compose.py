"""Opening a hall: all of it, or a message that says what to mend."""

from pathlib import Path

import pytest

from moothall.app.compose import DATABASE_FILE, KEY_FILE
from moothall.core.errors import ConfigurationError
from moothall.testing import ProblemError, open_test_hall
from tests.unit.action.scenes import GOOD, write_room


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


async def test_a_lost_key_is_told_and_nothing_is_made_instead(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path):
        pass
    (tmp_path / "hall" / KEY_FILE).rename(tmp_path / "kept.key")
    with pytest.raises(ConfigurationError, match="restore the key file"):
        async with open_test_hall(tmp_path):
            pass


async def test_a_declaration_that_is_wrong_leaves_no_data(tmp_path: Path) -> None:
    write_room(tmp_path, "shop_t", actions=GOOD.replace("raises=()", ""))
    with pytest.raises(ConfigurationError, match="lacks raises"):
        async with open_test_hall(tmp_path, functions=[tmp_path / "shop_t"]):
            pass
    assert not (tmp_path / "hall" / DATABASE_FILE).exists()
