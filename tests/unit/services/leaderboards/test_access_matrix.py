"""Every action of the room that takes a board, an entry or what hangs on one: who may call it.

The expected answers are written out. An action that is not in the matrix makes a test fail, so
that whoever adds one says here who may call it.
"""

from hashlib import sha256
from typing import Any

import msgspec
import pytest

from moothall.testing import OpenHall, Visitor
from tests.unit.services.leaderboards.cast import BOARD, Cast, gather_cast

WHO = ("none", "read", "write", "moderate", "administrator", "banned")
"""Levels; an administrator has none of their own, and the banned one moderates otherwise."""

DENIED, OK = "permission_denied", "done"
NOT_YOURS = "not_submitter"

BOARDS = {
    #                   none    read    write   mod     admin   banned
    "get_board": (DENIED, OK, OK, OK, OK, DENIED),
    "list_entries": (DENIED, OK, OK, OK, OK, DENIED),
    "get_rank": (DENIED, OK, OK, OK, OK, DENIED),
    "list_around": (DENIED, OK, OK, OK, OK, DENIED),
    "list_seasons": (DENIED, OK, OK, OK, OK, DENIED),
    "list_waiting": (DENIED, OK, OK, OK, OK, DENIED),
    "list_entries_of": (DENIED, OK, OK, OK, OK, DENIED),
    "submit_score": (DENIED, DENIED, OK, OK, OK, DENIED),
    "set_level": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "list_levels": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "import_entries": (DENIED, DENIED, DENIED, DENIED, OK, DENIED),
    "update_board": (DENIED, DENIED, DENIED, DENIED, OK, DENIED),
    "start_season": (DENIED, DENIED, DENIED, DENIED, OK, DENIED),
    "remove_board": (DENIED, DENIED, DENIED, DENIED, OK, DENIED),
}
"""Actions about a board."""

VERIFIED = {
    "get_entry": (DENIED, OK, OK, OK, OK, DENIED),
    "list_comments": (DENIED, OK, OK, OK, OK, DENIED),
    "list_proofs": (DENIED, OK, OK, OK, OK, DENIED),
    "get_proof": (DENIED, OK, OK, OK, OK, DENIED),
    "add_proof": (DENIED, NOT_YOURS, NOT_YOURS, NOT_YOURS, NOT_YOURS, DENIED),
    "remove_proof": (DENIED, NOT_YOURS, NOT_YOURS, OK, OK, DENIED),
    "add_comment": (DENIED, NOT_YOURS, NOT_YOURS, OK, OK, DENIED),
    "remove_comment": (DENIED, "not_author", "not_author", OK, OK, DENIED),
    "remove_entry": (DENIED, NOT_YOURS, NOT_YOURS, OK, OK, DENIED),
    "unverify_entry": (DENIED, DENIED, DENIED, OK, OK, DENIED),
}
"""Actions about somebody else's verified entry."""

WAITING = {
    "get_entry": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "list_comments": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "list_proofs": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "get_proof": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "add_proof": (DENIED, DENIED, DENIED, NOT_YOURS, NOT_YOURS, DENIED),
    "remove_proof": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "add_comment": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "remove_comment": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "remove_entry": (DENIED, DENIED, DENIED, OK, OK, DENIED),
    "verify_entry": (DENIED, DENIED, DENIED, OK, OK, DENIED),
}
"""Actions about somebody else's entry that waits."""

OWN = {
    "get_entry": (DENIED, OK, OK, OK, OK, DENIED),
    "list_comments": (DENIED, OK, OK, OK, OK, DENIED),
    "list_proofs": (DENIED, OK, OK, OK, OK, DENIED),
    "get_proof": (DENIED, OK, OK, OK, OK, DENIED),
    "add_proof": (DENIED, OK, OK, OK, OK, DENIED),
    "remove_proof": (DENIED, OK, OK, OK, OK, DENIED),
    "add_comment": (DENIED, OK, OK, OK, OK, DENIED),
    "remove_comment": (DENIED, OK, OK, OK, OK, DENIED),
    "remove_entry": (DENIED, OK, OK, OK, OK, DENIED),
    "verify_entry": (DENIED, DENIED, DENIED, OK, OK, DENIED),
}
"""Actions about one's own entry that waits, whatever the level is now."""

ELSEWHERE = {
    "create_board": "takes the id of a board that does not exist yet; test_actions.py",
}

FIELDS: dict[str, dict[str, Any]] = {
    "get_rank": {"member": "zoe"},
    "list_around": {"member": "zoe"},
    "list_entries_of": {"member": "zoe"},
    "submit_score": {"score": 1.0},
    "set_level": {"member": "zoe", "level": "read"},
    "import_entries": {"entries": [{"submitter": "zoe", "score": 1.0, "submitted_at_ms": 1}]},
    "update_board": {"removed_members": "keep"},
    "add_comment": {"text": "hm"},
    "add_proof": {"sha256": sha256(b"caller").hexdigest(), "name": "a.png"},
}
"""What an action needs besides what it is about."""


CHANGING = ("verify_entry", "unverify_entry", "remove_entry")
"""What is done last where it succeeds, in this order, because it changes what others see."""


class Stage:
    """A board with a caller of some level, an entry of theirs and two of Zoe's."""

    def __init__(self, cast: Cast, caller: Visitor, ids: dict[str, dict[str, str]]) -> None:
        self.cast = cast
        self.caller = caller
        self.ids = ids
        """Of each entry, its comment and its proof, by what the entry is."""

    async def outcome(self, action: str, which: str = "") -> str:
        """Return what comes of a call of an action about the board, or about an entry."""
        name = f"leaderboards.{action}"
        request = dict(FIELDS.get(action, {}))
        if which:
            [field] = self.ids[which].keys() & fields_of(self.cast.hall, name)
            request[field] = self.ids[which][field]
        else:
            request |= BOARD
        reply = await self.cast.hall.answer(name, request, token=self.caller.token)
        if reply.problem is None:
            return OK
        assert reply.problem.code == DENIED, reply.problem
        return reply.problem.name


def fields_of(hall: OpenHall, name: str) -> set[str]:
    """Return the names of the fields of an action's request."""
    request_type = hall.hall.catalog.actions[name].request_type
    return {field.name for field in msgspec.structs.fields(request_type)}


async def set_stage(hall: OpenHall, who: str) -> Stage:
    """Bring everybody in; Zoe's entries are ``verified`` and ``waiting``, the caller's ``own``."""
    cast = await gather_cast(hall)
    zoe = await hall.member("zoe")
    caller = cast.boss if who == "administrator" else await hall.member("caller")
    await cast.do(cast.boss, "set_level", **BOARD, member="zoe", level="write")
    if caller is not cast.boss:
        await cast.do(cast.boss, "set_level", **BOARD, member="caller", level="write")
    entries = {
        "verified": await cast.verified(zoe),
        "waiting": await cast.submit(zoe),
        "own": await cast.submit(caller),
    }
    await cast.upload(caller, b"caller")
    about = {
        which: await say_and_show(cast, caller if which == "own" else zoe, entry.entry_id)
        for which, entry in entries.items()
    }
    level = "moderate" if who == "banned" else who
    if level not in {"administrator", "write"}:
        await cast.do(cast.boss, "set_level", **BOARD, member="caller", level=level)
    if who == "banned":
        await cast.ban("caller")
    return Stage(
        cast,
        caller,
        {
            which: {
                "entry_id": entry.entry_id,
                "comment_id": about[which][0],
                "proof_id": about[which][1],
            }
            for which, entry in entries.items()
        },
    )


async def say_and_show(cast: Cast, who: Visitor, entry_id: str) -> tuple[str, str]:
    """Return the ids of a comment and of a proof of an entry, both by who submitted it."""
    said = await cast.do(who, "add_comment", entry_id=entry_id, text="hm")
    digest = await cast.upload(who, entry_id.encode())
    proof = await cast.do(who, "add_proof", entry_id=entry_id, sha256=digest, name="a.png")
    return said.comment_id, proof.proof_id


@pytest.mark.requirement("R51")
@pytest.mark.requirement("R53")
def test_matrix_knows_every_action(hall: OpenHall) -> None:
    fields = {"board_id", "entry_id", "comment_id", "proof_id"}
    found = {
        action.verb
        for name, action in hall.hall.catalog.actions.items()
        if action.room == "leaderboards" and fields & fields_of(hall, name)
    }
    known = {*BOARDS, *VERIFIED, *WAITING, *OWN, *ELSEWHERE}
    assert found == known


@pytest.mark.requirement("R50")
@pytest.mark.requirement("R51")
@pytest.mark.parametrize("who", WHO)
async def test_who_may_do_what_about_a_board(hall: OpenHall, who: str) -> None:
    stage = await set_stage(hall, who)
    column = WHO.index(who)
    for action, expected in BOARDS.items():
        assert await stage.outcome(action) == expected[column], action


@pytest.mark.requirement("R51")
@pytest.mark.requirement("R53")
@pytest.mark.requirement("R55")
@pytest.mark.requirement("R56")
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(
    ("which", "matrix"), [("verified", VERIFIED), ("waiting", WAITING), ("own", OWN)]
)
async def test_who_may_do_what_about_an_entry(
    hall: OpenHall, who: str, which: str, matrix: dict[str, tuple[str, ...]]
) -> None:
    stage = await set_stage(hall, who)
    column = WHO.index(who)
    for action, expected in matrix.items():
        if action not in CHANGING or expected[column] != OK:
            assert await stage.outcome(action, which) == expected[column], action
    for action in CHANGING:
        if action in matrix and matrix[action][column] == OK:
            assert await stage.outcome(action, which) == OK, action


@pytest.mark.requirement("R51")
@pytest.mark.parametrize("who", WHO)
async def test_who_may_follow_what(hall: OpenHall, who: str) -> None:
    stage = await set_stage(hall, who)
    expected = {
        "board/seven": (DENIED, OK, OK, OK, OK, DENIED),
        "board/seven/moderation": (DENIED, DENIED, DENIED, OK, OK, DENIED),
        "own-entries": (OK, OK, OK, OK, OK, OK),
    }
    for feed, outcomes in expected.items():
        connection = await hall.connect(stage.caller)
        reply = await connection.answer("feeds.subscribe", feed=feed)
        outcome = OK if reply.problem is None else reply.problem.name
        assert outcome == outcomes[WHO.index(who)], feed
