"""Names that can be mistaken for each other, and names that change."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moothall.core.units import DAY_MS
from moothall.services.identity.rules.names import NAMES_HELD_MAX, skeleton_of
from moothall.testing import ManualClock, OpenHall, ProblemError, Visitor, open_test_hall

PASSWORD = "correct horse battery staple"
ALIKE = [
    ("alice", "\N{CYRILLIC SMALL LETTER A}lice"),
    ("alice", "a1ice"),
    ("alice", "aIice"),
    ("Alice", "al\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}ce"),
    ("bob", "b0b"),
    ("modern", "rnodern"),
    (
        "paypal",
        "".join(f"\N{CYRILLIC SMALL LETTER ER}\N{CYRILLIC SMALL LETTER A}{last}" for last in "yl"),
    ),
]
UNLIKE = [
    ("zoe", "zoë"),
    ("Greg I", "Greg L"),
    ("strasse", "straße"),
    ("anna", "hanna"),
    ("player1", "player2"),
]


async def refused(hall: OpenHall, action: str, who: Visitor | None = None, **fields: object) -> str:
    with pytest.raises(ProblemError) as refusal:
        await hall.call(f"identity.{action}", fields, as_=who)
    return refusal.value.name


@pytest.mark.requirement("R10")
@pytest.mark.parametrize(("first", "second"), ALIKE)
async def test_of_two_names_that_look_alike_only_one_can_be_had(
    hall: OpenHall, first: str, second: str
) -> None:
    boss = await hall.administrator()
    await hall.member(first)
    assert await refused(hall, "register", name=second, password=PASSWORD) == "name_taken"
    added = await hall.call("identity.add_members", {"names": [second, "carol"]}, as_=boss)
    assert [member and member.name for member in added.members] == [None, "carol"]
    assert added.refused[0].number == 0
    assert "looks the same" in added.refused[0].reason
    assert len(await hall.rows("SELECT 1 FROM identity_member")) == 3


@pytest.mark.requirement("R10")
@pytest.mark.parametrize(("first", "second"), UNLIKE)
async def test_names_that_differ_to_the_eye_can_both_be_had(
    hall: OpenHall, first: str, second: str
) -> None:
    await hall.member(first)
    assert (await hall.member(second)).name == second


@pytest.mark.requirement("R10")
async def test_what_looks_like_a_reserved_name_is_reserved(hall: OpenHall) -> None:
    assert await refused(hall, "register", name="mootha1l", password=PASSWORD) == "invalid_argument"


@given(st.text(alphabet="bcdefghjknopqrstuvwxyz", min_size=1, max_size=32))
def test_skeleton_does_not_mind_the_case_of_letters_that_look_like_no_other(name: str) -> None:
    assert skeleton_of(name.upper()) == skeleton_of(name) == name


@pytest.mark.requirement("R10")
async def test_accounts_older_than_the_check_get_their_skeleton_at_the_next_start(
    tmp_path: Path,
) -> None:
    async with open_test_hall(tmp_path) as hall:
        for name in ("alice", "carol", "dave"):
            await hall.member(name)
        # As they were before the migration: two of them alike, and none with a skeleton.
        old = "UPDATE identity_member SET skeleton = NULL"
        await hall.hall.database.write(lambda tx: tx.execute(old))
        alike = "UPDATE identity_member SET name = 'a1ice', name_key = 'a1ice' WHERE name = 'dave'"
        await hall.hall.database.write(lambda tx: tx.execute(alike))
    async with open_test_hall(tmp_path) as hall:
        rows = await hall.rows("SELECT name, skeleton FROM identity_member ORDER BY member_id")
        assert rows == [("alice", "alice"), ("carol", "carol"), ("a1ice", None)]
        assert await refused(hall, "register", name="car0l", password=PASSWORD) == "name_taken"
        assert (await hall.sign_in("a1ice")).name == "a1ice", "who was there stays"


@pytest.mark.requirement("R10")
async def test_old_name_waits_for_its_former_holder_and_is_free_then(tmp_path: Path) -> None:
    clock = ManualClock()
    async with open_test_hall(tmp_path, clock=clock) as hall:
        alice = await hall.member("alice")
        renamed = await hall.call("identity.rename_self", {"name": "Alicia"}, as_=alice)
        assert (renamed.name, renamed.member_id) == ("Alicia", alice.member_id)
        assert [event.kind for event in await hall.events("identity")][-1] == (
            "identity.member_renamed"
        )
        for name in ("alice", "ALICE", "a1ice"):
            assert await refused(hall, "register", name=name, password=PASSWORD) == "name_taken"
        clock.advance(30 * DAY_MS - 1)
        assert await refused(hall, "register", name="alice", password=PASSWORD) == "name_taken"
        clock.advance(1)
        await hall.run_job("identity.sweep_registration")
        assert await hall.rows("SELECT * FROM identity_name_hold") == []
        assert (await hall.member("alice")).member_id != alice.member_id
        assert (await hall.sign_in("alicia")).member_id == alice.member_id


@pytest.mark.requirement("R10")
async def test_former_holder_may_have_the_name_back(hall: OpenHall) -> None:
    alice = await hall.member("alice")
    await hall.call("identity.rename_self", {"name": "Alicia"}, as_=alice)
    await hall.call("identity.rename_self", {"name": "Alice"}, as_=alice)
    [(name, key, held)] = await hall.rows(
        "SELECT m.name, m.name_key, h.name_key FROM identity_member AS m"
        " JOIN identity_name_hold AS h ON h.member_id = m.member_id"
    )
    assert (name, key, held) == ("Alice", "alice", "alicia")


@pytest.mark.requirement("R10")
async def test_nobody_reserves_name_after_name(hall: OpenHall) -> None:
    alice = await hall.member("alice")
    for number in range(NAMES_HELD_MAX):
        await hall.call("identity.rename_self", {"name": f"name {number + 2}"}, as_=alice)
    assert await refused(hall, "rename_self", alice, name="one more") == "renamed_too_often"
    [(name,)] = await hall.rows("SELECT name FROM identity_member")
    assert name == f"name {NAMES_HELD_MAX + 1}", "the refusal changed nothing"
    holds = await hall.rows("SELECT 1 FROM identity_name_hold")
    assert len(holds) == NAMES_HELD_MAX


@pytest.mark.requirement("R10")
async def test_change_of_case_alone_reserves_nothing(hall: OpenHall) -> None:
    alice = await hall.member("alice")
    await hall.call("identity.rename_self", {"name": "ALICE"}, as_=alice)
    assert await hall.rows("SELECT * FROM identity_name_hold") == []


@pytest.mark.requirement("R10")
async def test_name_of_another_cannot_be_taken_by_renaming(hall: OpenHall) -> None:
    alice = await hall.member("alice")
    await hall.member("bob")
    for name in ("bob", "BOB", "b0b"):
        assert await refused(hall, "rename_self", alice, name=name) == "name_taken"
    assert await hall.rows("SELECT * FROM identity_name_hold") == []


@pytest.mark.requirement("R10")
async def test_administrator_renames_others_and_members_do_not(hall: OpenHall) -> None:
    boss, alice = await hall.administrator(), await hall.member("alice")
    denied = await refused(hall, "rename_member", alice, member="admin", name="nobody")
    assert denied == "permission_denied"
    await hall.call("identity.rename_member", {"member": "alice", "name": "carol"}, as_=boss)
    assert (await hall.call("identity.get_self", as_=alice)).name == "carol"
    assert await refused(hall, "rename_member", boss, member="dave", name="x") == "member_not_found"
