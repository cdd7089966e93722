"""An evening at the boards: an organiser, a moderator, players, and somebody who only looks."""

from pathlib import Path
from typing import Any

import pytest

from moothall.testing import OpenHall, ProblemError, Visitor, open_test_hall


async def ranking(hall: OpenHall, who: Visitor, board_id: str) -> list[tuple[int, str, float]]:
    page = await hall.call("leaderboards.list_entries", {"board_id": board_id}, as_=who)
    return [(row.place, row.name, row.score) for row in page.standings]


async def submit(hall: OpenHall, who: Visitor, board_id: str, score: float) -> Any:
    hall.clock.advance(1)
    fields = {"board_id": board_id, "score": score}
    return await hall.call("leaderboards.submit_score", fields, as_=who)


@pytest.mark.requirement("R50")
@pytest.mark.requirement("R51")
@pytest.mark.requirement("R53")
@pytest.mark.requirement("R54")
async def test_evening_with_a_restart_in_the_middle(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("Organiser")
        mod, ann, bob = [await hall.member(name) for name in ("Mod", "Ann", "Bob")]
        # The organiser makes a board for all, and one for the team only.
        board = {"name": "Darts", "direction": "descending", "default_level": "write"}
        await hall.call("leaderboards.create_board", board, as_=boss)
        board = {"name": "Team trials", "direction": "ascending", "default_level": "none"}
        await hall.call("leaderboards.create_board", board, as_=boss)
        grant = {"member": "mod", "role": "board_moderator", "at": "board/darts"}
        await hall.call("access.grant_role", grant, as_=boss)
        boards = (await hall.call("leaderboards.list_boards", as_=ann)).boards
        assert [(one.board_id, one.level) for one in boards] == [("darts", "write")]

        # Ann and Bob throw the same, Ann first; nothing counts before the moderator looked.
        of_ann, of_bob = (
            await submit(hall, ann, "darts", 180),
            await submit(hall, bob, "darts", 180),
        )
        of_mod = await submit(hall, mod, "darts", 60)
        assert await ranking(hall, bob, "darts") == []
        waiting = await hall.call("leaderboards.list_waiting", {"board_id": "darts"}, as_=mod)
        assert [entry.entry_id for entry in waiting.entries] == [
            of_ann.entry_id,
            of_bob.entry_id,
            of_mod.entry_id,
        ]
        for entry in (of_mod, of_bob, of_ann):
            await hall.call("leaderboards.verify_entry", {"entry_id": entry.entry_id}, as_=mod)
        evening = [(1, "Ann", 180.0), (1, "Bob", 180.0), (3, "Mod", 60.0)]
        assert await ranking(hall, bob, "darts") == evening

    async with open_test_hall(tmp_path) as hall:
        assert await ranking(hall, bob, "darts") == evening
        rank = await hall.call("leaderboards.get_rank", {"board_id": "darts"}, as_=bob)
        assert (rank.place, rank.total) == (1, 3)
        # Ann's throw is doubted, and a worse one of hers counts instead.
        worse = await submit(hall, ann, "darts", 20)
        await hall.call("leaderboards.verify_entry", {"entry_id": worse.entry_id}, as_=mod)
        await hall.call("leaderboards.unverify_entry", {"entry_id": of_ann.entry_id}, as_=mod)
        assert await ranking(hall, ann, "darts") == [
            (1, "Bob", 180.0),
            (2, "Mod", 60.0),
            (3, "Ann", 20.0),
        ]
        # The moderator of darts is nobody at the team's board, whether it exists or not.
        for board_id in ("team-trials", "no-such-board"):
            with pytest.raises(ProblemError) as refusal:
                await submit(hall, mod, board_id, 1)
            assert refusal.value.code == "permission_denied"
        # The organiser takes the role away; the next call feels it.
        await hall.call("access.revoke_role", grant, as_=boss)
        with pytest.raises(ProblemError) as refusal:
            await hall.call("leaderboards.verify_entry", {"entry_id": of_ann.entry_id}, as_=mod)
        assert refusal.value.details["permission"] == "scores:moderate"


@pytest.mark.requirement("R54")
async def test_ranks_of_every_counting_rule_survive_restarts(tmp_path: Path) -> None:
    rules = ("best", "last", "sum", "every")
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("boss")
        for rule in rules:
            board = {"name": rule, "direction": "descending", "counting": rule}
            await hall.call("leaderboards.create_board", board, as_=boss)
            rows = [
                {
                    "submitter": f"player{number % 40}",
                    "score": float(number * 7 % 50),
                    "submitted_at_ms": number,
                }
                for number in range(400)
            ]
            request = {"board_id": rule, "entries": rows}
            await hall.call("leaderboards.import_entries", request, as_=boss)
        before = [await ranking(hall, boss, rule) for rule in rules]
    for _ in range(2):
        async with open_test_hall(tmp_path) as hall:
            assert [await ranking(hall, boss, rule) for rule in rules] == before
    assert before[0] != before[1] != before[2]


@pytest.mark.requirement("R53")
@pytest.mark.requirement("R56")
@pytest.mark.requirement("R58")
@pytest.mark.requirement("R60")
async def test_dispute_about_a_score(tmp_path: Path) -> None:
    async with open_test_hall(tmp_path) as hall:
        boss = await hall.administrator("Organiser")
        mod, ann, bob = [await hall.member(name) for name in ("Mod", "Ann", "Bob")]
        board = {"name": "Darts", "direction": "descending", "default_level": "read"}
        await hall.call("leaderboards.create_board", board, as_=boss)

        async def set_level(who: Visitor, member: str, level: str) -> Any:
            fields = {"board_id": "darts", "member": member, "level": level}
            return await hall.call("leaderboards.set_level", fields, as_=who)

        # The organiser appoints a moderator, who lets Ann and Bob play.
        await set_level(boss, "mod", "moderate")
        for member in ("ann", "bob"):
            await set_level(mod, member, "write")
        entry = await submit(hall, ann, "darts", 181)

        # Bob sees nothing of it yet. The moderator asks, Ann answers; she follows her entries.
        about = {"entry_id": entry.entry_id}
        with pytest.raises(ProblemError):
            await hall.call("leaderboards.get_entry", about, as_=bob)
        phone = await hall.connect(ann)
        await phone.call("feeds.subscribe", feed="own-entries")
        await phone.until_live("own-entries")
        for who, text in ((mod, "181 with three darts?"), (ann, "With four."), (mod, "Well.")):
            hall.clock.advance(1)
            fields = {**about, "text": text}
            await hall.call("leaderboards.add_comment", fields, as_=who)
        assert (await phone.next_event()).kind == "leaderboards.comment_added"
        await hall.call("leaderboards.verify_entry", about, as_=mod)

        # Now Bob reads all of it, and may not join in.
        shown = await hall.call("leaderboards.get_entry", about, as_=bob)
        assert (shown.name, shown.verified_by_name, shown.comments) == ("Ann", "Mod", 3)
        talk = await hall.call("leaderboards.list_comments", about, as_=bob)
        assert [one.name for one in talk.comments] == ["Mod", "Ann", "Mod"]
        for action, fields in (
            ("add_comment", {**about, "text": "Four!"}),
            ("remove_entry", about),
        ):
            with pytest.raises(ProblemError) as refusal:
                await hall.call(f"leaderboards.{action}", fields, as_=bob)
            assert refusal.value.name == "not_submitter"

    async with open_test_hall(tmp_path) as hall:
        # Another day Ann thinks better of it; the moderator steps down with the organiser's help.
        ann, bob, boss = [await hall.sign_in(name) for name in ("Ann", "Bob", "Organiser")]
        await hall.call("leaderboards.remove_entry", about, as_=ann)
        assert await ranking(hall, bob, "darts") == []
        page = await hall.call("leaderboards.list_entries_of", {"member": "ann"}, as_=ann)
        assert page.entries == []
        fields = {"board_id": "darts", "member": "mod", "level": "none"}
        await hall.call("leaderboards.set_level", fields, as_=boss)
        levels = await hall.call("leaderboards.list_levels", {"board_id": "darts"}, as_=boss)
        assert [(one.name, one.level, one.effective_level) for one in levels.levels] == [
            ("Ann", "write", "write"),
            ("Bob", "write", "write"),
        ]
