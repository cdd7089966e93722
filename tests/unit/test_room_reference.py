"""The page on writing rooms says what the code is, and the room that it shows works."""

import re
from pathlib import Path

import pytest

from moothall.action import WRITE, action
from moothall.action.context import Context
from moothall.action.declare import Effect
from moothall.app.discovery import FURNITURE
from moothall.ports.database import Transaction
from moothall.testing import ProblemError, open_test_hall
from tests.unit.action.scenes import forget_rooms
from tests.unit.test_docs import DOCS, fences_of, section
from tools.room_reference import (
    CONTEXT,
    CONTEXT_ELSEWHERE,
    TRANSACTION,
    TRANSACTION_ELSEWHERE,
    public_names,
)

PAGE = DOCS / "reference" / "writing-rooms.md"
WORDS_MAX = 900

pytestmark = pytest.mark.requirement("R40")


def names_in(text: str) -> set[str]:
    """Return what stands as code in the first cells of tables."""
    cells = re.findall(r"^\| (`.+?`) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_it_is_read_in_four_minutes() -> None:
    words = [word for word in PAGE.read_text("utf-8").split() if re.search(r"\w", word)]
    assert len(words) <= WORDS_MAX


def test_it_tells_of_all_that_a_room_uses() -> None:
    assert public_names(Context) == {*CONTEXT, *CONTEXT_ELSEWHERE}
    assert public_names(Transaction) == {*TRANSACTION, *TRANSACTION_ELSEWHERE}


def test_it_names_every_piece_of_furniture() -> None:
    assert names_in(section(PAGE, "## A room is a folder")) - {"__init__"} == FURNITURE


def test_it_names_the_facts_and_their_values() -> None:
    text = section(PAGE, "## The four facts of an action")
    assert names_in(text) == {"access", "effect", "limit", "raises"}
    assert names_in(text) < set(action.__annotations__)
    assert set(re.findall(r"`([A-Z]+)`", text)) == {each.name for each in Effect} | {"PUBLIC"}
    assert WRITE.name in text


async def test_the_room_on_it_is_served(tmp_path: Path) -> None:
    for fence in fences_of(PAGE):
        assert fence.file, "each block says which file it is"
        file = tmp_path / fence.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(fence.text, encoding="utf-8")
    cake = {"raffle_id": "cake"}
    with forget_rooms(tmp_path):
        async with open_test_hall(tmp_path / "data", functions=tmp_path / "raffle") as hall:
            admin, ada = await hall.administrator(), await hall.member("ada")
            reader = await hall.connect(ada)
            await reader.call("feeds.subscribe", feed="raffle/cake")
            assert (await hall.call("raffle.enter_raffle", cake, as_=ada)).members == 1
            with pytest.raises(ProblemError, match="already_entered"):
                await hall.call("raffle.enter_raffle", cake, as_=ada)
            event = await reader.next_event()
            assert (event.kind, event.data) == (
                "raffle.raffle_entered",
                {"member_id": ada.member_id},
            )

            with pytest.raises(ProblemError, match="permission_denied"):
                await hall.call("raffle.clear_raffle", cake, as_=ada)
            grant = {"member": "ada", "role": "raffle_host", "at": "raffle/cake"}
            await hall.call("access.grant_role", grant, as_=admin)
            assert (await hall.call("raffle.clear_raffle", cake, as_=ada)).members == 1
            assert await hall.rows("SELECT * FROM raffle_entry") == []
