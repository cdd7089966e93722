"""What changes acts with its commit, and is the same after a restart."""

import random
from asyncio import gather
from pathlib import Path
from typing import Any

import pytest

from moothall.action import EVERYONE
from moothall.services.access.adapters.bindings import StoredBindings
from moothall.testing import ManualClock, OpenHall, Visitor, open_test_hall
from tests.unit.services.access.calls import change, do, refused

CHANGES = {
    "revocation": ("revoke_role", {"member": "bob", "role": "made"}),
    "ban": ("ban", {"member": "bob", "at": ""}),
    "change of the role": ("update_role", {"name": "made", "permissions": ["scores:read"]}),
    "deletion of the role": ("delete_role", {"name": "made", "force": True}),
    "removal from the team": ("remove_team_member", {"team": "staff", "member": "bob"}),
    "deletion of the team": ("delete_team", {"team": "staff"}),
    "revocation from the team": ("revoke_role", {"member": "team:staff", "role": "made"}),
    "revocation from everyone": ("revoke_role", {"member": "everyone", "role": "made"}),
}


@pytest.mark.requirement("R22")
@pytest.mark.parametrize(("verb", "request_"), CHANGES.values(), ids=CHANGES.keys())
async def test_r22_next_call_of_an_open_session_is_refused(
    hall: OpenHall, verb: str, request_: dict[str, Any]
) -> None:
    boss, bob = await hall.administrator("boss"), await hall.member("bob")
    await do(hall, boss, "define_role", name="made", permissions=["teams:list"])
    await do(hall, boss, "create_team", team="staff")
    await do(hall, boss, "add_team_member", team="staff", member="bob")
    about = str(request_.get("member") if "role" in request_ else request_.get("team", "bob"))
    subject = {"staff": "team:staff"}.get(about, about)
    await change(hall, boss, "grant", subject, "made", "")
    for _ in range(2):
        await hall.call("access.list_teams", as_=bob)
    await do(hall, boss, verb, **request_)
    assert (await refused(hall, bob, "access.list_teams")).code == "permission_denied"


async def kept(hall: OpenHall, *who: Visitor) -> StoredBindings:
    """The index of a hall, in which these are kept."""
    index = hall.hall.house.use(StoredBindings)
    for visitor in who:
        await index.admit(hall.hall.database, visitor.member_id)
    return index


def contents(index: StoredBindings) -> dict[str, Any]:
    """All that an index knows, without what is empty."""

    def names(places: Any) -> dict[str, list[str]]:
        return {path: [role.name for role in roles] for path, roles in places.items()}

    return {
        "roles": {name: sorted(role.permissions) for name, role in index._roles.items()},
        "shared": {who: names(places) for who, places in index._shared.items() if places},
        "holders": {
            who: (names(one.own), one.teams, one.bans, [name for name, _ in one.places])
            for who, one in index._rights.items()
        },
    }


def random_call(chance: random.Random, now_ms: int) -> tuple[str, dict[str, Any]]:
    """One change among few names, so that many meet and some are refused."""
    member = chance.choice(["ann", "bob", "cid"])
    subject = chance.choice([member, member, "team:a", "team:b", EVERYONE])
    role = chance.choice(["r1", "r2", "board_reader", "administrator"])
    at = chance.choice(["", "org", "org/1", "org/10"])
    team = chance.choice(["a", "b"])
    held = chance.sample(["scores:read", "scores:write", "roles:list"], chance.randint(1, 3))
    until_ms = chance.choice([None, now_ms + chance.randint(1, 9)])
    made = {"name": role, "permissions": held}
    grant = {"member": subject, "role": role, "at": at}
    calls: list[tuple[int, str, dict[str, Any]]] = [
        (8, "grant_role", grant),
        (4, "revoke_role", grant),
        (3, "define_role", made),
        (2, "update_role", made),
        (1, "delete_role", {"name": role, "force": chance.random() < 0.5}),
        (3, "create_team", {"team": team}),
        (1, "delete_team", {"team": team}),
        (4, "add_team_member", {"team": team, "member": member}),
        (2, "remove_team_member", {"team": team, "member": member}),
        (3, "ban", {"member": member, "at": at, "until_ms": until_ms}),
        (2, "lift_ban", {"member": member, "at": at}),
    ]
    _, verb, request = chance.choices(calls, [one[0] for one in calls])[0]
    return f"access.{verb}", request


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("seed", range(4))
async def test_r22_index_that_the_commits_made_is_the_one_that_a_restart_reads(
    tmp_path: Path, seed: int
) -> None:
    chance, clock = random.Random(seed), ManualClock()
    refusals: dict[str, int] = {}
    async with open_test_hall(tmp_path, clock=clock) as hall:
        boss: Visitor = await hall.administrator("boss")
        everybody = [boss, *[await hall.member(name) for name in ("ann", "bob", "cid")]]
        index = await kept(hall, *everybody)
        for _ in range(60):
            calls = [random_call(chance, clock.now_ms()) for _ in range(chance.randint(1, 6))]
            replies = await gather(
                *(hall.answer(verb, request, token=boss.token) for verb, request in calls)
            )
            for reply in replies:
                name = reply.problem.name if reply.problem else "done"
                assert name != "internal", reply.problem
                refusals[name] = refusals.get(name, 0) + 1
            clock.advance(1)
        before = contents(index)
    async with open_test_hall(tmp_path, clock=clock) as hall:
        assert contents(await kept(hall, *everybody)) == before
    assert refusals.pop("done") > 60
    assert len(refusals) >= 5, "calls were refused in many ways"
    assert before["holders"]


# --- with room for two ----------------------------------------------------------------------------

ROOM_FOR_TWO = {"access": {"remembered_rows_max": 12}}
"""The rooms take some rows for themselves."""

BOARD = {"board_id": "kart", "name": "Kart", "direction": "descending", "default_level": "write"}


@pytest.mark.requirement("R22")
@pytest.mark.parametrize("seed", range(3))
async def test_r22_what_is_acknowledged_acts_at_once_on_whoever_is_read_anew(
    tmp_path: Path, seed: int
) -> None:
    """Six members call while roles are given to them and taken from them, with room for two."""
    chance = random.Random(seed)
    held: dict[str, bool] = {}
    async with open_test_hall(tmp_path, tables=ROOM_FOR_TWO) as hall:
        boss = await hall.administrator("boss")
        await do(hall, boss, "define_role", name="made", permissions=["teams:list"])
        people = [await hall.member(f"person{number}") for number in range(6)]
        index = hall.hall.house.use(StoredBindings)

        async def change_and_ask(one: Visitor) -> None:
            verb = "revoke_role" if held.get(one.name) else "grant_role"
            racing = [hall.answer("access.list_teams", {}, token=one.token) for _ in range(2)]
            await gather(do(hall, boss, verb, member=one.name, role="made"), *racing)
            held[one.name] = verb == "grant_role"
            reply = await hall.answer("access.list_teams", {}, token=one.token)
            assert (reply.problem is None) is held[one.name], (seed, verb)

        for _ in range(40):
            await gather(*(change_and_ask(one) for one in chance.sample(people, 3)))
            assert len(index._rights) - len(hall.hall.catalog.rooms) <= 4, "who is idle goes"
        if hall.hall.foundation.tail is not None:  # it may be learning of the last changes
            await hall.hall.foundation.tail.close()
        assert not any(rights.keepers for who, rights in index._rights.items() if ":" not in who)


@pytest.mark.requirement("R22")
async def test_r22_follower_is_kept_and_told_though_there_is_room_for_nobody(
    tmp_path: Path,
) -> None:
    tables = {"access": {"remembered_rows_max": 0}}
    async with open_test_hall(tmp_path, tables=tables) as hall:
        boss, bob = await hall.administrator("boss"), await hall.member("bob")
        index = hall.hall.house.use(StoredBindings)
        await hall.call("leaderboards.create_board", BOARD, as_=boss)
        at = "board/kart"
        await change(hall, boss, "grant", "bob", "board_moderator", at)
        line = await hall.connect(bob)
        feed = f"{at}/moderation"
        await line.call("feeds.subscribe", feed=feed)
        await line.until_live(feed)
        assert index.find_rights(boss.member_id) is None
        fields = {"board_id": "kart", "score": 7}
        await hall.call("leaderboards.submit_score", fields, as_=boss)
        assert (await line.next_event()).kind == "leaderboards.score_submitted"
        await change(hall, boss, "revoke", "bob", "board_moderator", at)
        await hall.call("leaderboards.submit_score", fields, as_=boss)
        hall.look_after_connections()
        assert line.ended == {feed: "permission_denied"}
        assert not line.received
        assert index.find_rights(bob.member_id) is None, "nobody keeps who follows nothing"
        await change(hall, boss, "grant", "bob", "board_moderator", at)
        await line.call("feeds.subscribe", feed=feed)
        assert index.find_rights(bob.member_id) is not None
        line.leave()
        assert index.find_rights(bob.member_id) is None
