"""What the hall must hold, as plain values in memory: too simple to be wrong.

Acknowledged deeds are folded in, in the order in which the audit trail has them. Nothing here
asks the hall; ``checks.py`` compares the two.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from moothall.action import EVERYONE
from moothall.services.leaderboards.model import LEVEL_ROLES, Counting, Direction, Level
from moothall.services.leaderboards.rules import make_imported_id
from tests.simulation.deeds import Deed
from tests.unit.services.access.naive_access import NaiveAccess, covers
from tests.unit.services.leaderboards.naive_board import NaiveBoard, NaiveEntry

WITHOUT_LOCK = frozenset(
    f"leaderboards.{verb}"
    for verb in ("submit_score", "add_comment", "remove_comment", "add_proof", "remove_proof")
)
"""Calls on what a board holds that do not lock the board."""

Body = Mapping[str, Any]


@dataclass
class Session:
    """One session, as its client keeps it."""

    session_id: str
    member_id: str
    refresh_token: str = ""
    access_token: str = ""
    expires_at_ms: int = 0
    """Of the access token."""
    is_over: bool = False


@dataclass
class Person:
    """A member."""

    member_id: str
    name: str
    password: str
    is_removed: bool = False
    files: set[str] = field(default_factory=set)
    """Hashes of what was uploaded."""


@dataclass
class ModelBoard:
    """A board with its seasons; entries' comments and proofs are kept by entry."""

    board_id: str
    removed_members: str
    default_level: str
    next_reset_at_ms: int | None
    seasons: list[NaiveBoard]
    pending: tuple[Direction, Counting] | None = None
    """How the current season is to count once its ranking is built anew."""

    def change_over(self) -> None:
        """Let the current season count as it was to be."""
        if self.pending is not None:
            self.seasons[-1].direction, self.seasons[-1].counting = self.pending
            self.pending = None

    def season_of(self, entry_id: str) -> NaiveBoard:
        """Return the season that an entry belongs to."""
        return next(one for one in self.seasons if entry_id in one.entries)

    def entries(self) -> dict[str, NaiveEntry]:
        """Return all entries by id."""
        return {key: entry for one in self.seasons for key, entry in one.entries.items()}


class Model:
    """All that was acknowledged."""

    def __init__(self, *, has_nodes: bool = False) -> None:
        """Know nothing yet.

        Args:
            has_nodes: Whether calls run at several nodes at once.
        """
        self.has_nodes = has_nodes
        self.people: dict[str, Person] = {}
        self.sessions: dict[str, Session] = {}
        self.boards: dict[str, ModelBoard] = {}
        self.comments: dict[str, dict[str, str]] = {}
        """By entry: who wrote each comment."""
        self.proofs: dict[str, set[str]] = {}
        """By entry: ids."""
        self.access = NaiveAccess()
        self.built_in: set[str] = set()
        self._folds: dict[str, Callable[[Deed, Body], None]] = {
            "identity.register": self._register,
            "identity.open_session": self._open_session,
            "identity.refresh_session": self._open_session,
            "identity.close_session": self._end,
            "identity.revoke_session": self._end,
            "identity.close_other_sessions": self._close_others,
            "identity.revoke_sessions_of": self._end_of,
            "identity.change_password": self._change_password,
            "access.grant_role": self._bind,
            "access.revoke_role": self._unbind,
            "access.define_role": self._define_role,
            "access.update_role": self._define_role,
            "access.delete_role": self._delete_role,
            "access.delete_team": self._delete_team,
            "access.add_team_member": self._join,
            "access.remove_team_member": self._leave,
            "access.ban": self._ban,
            "access.lift_ban": self._lift,
            "leaderboards.create_board": self._create_board,
            "leaderboards.update_board": self._update_board,
            "leaderboards.remove_board": self._remove_board,
            "leaderboards.start_season": self._start_season,
            "leaderboards.submit_score": self._submit,
            "leaderboards.verify_entry": self._verify,
            "leaderboards.unverify_entry": self._unverify,
            "leaderboards.remove_entry": self._remove_entry,
            "leaderboards.add_comment": self._add_comment,
            "leaderboards.remove_comment": self._remove_comment,
            "leaderboards.set_level": self._set_level,
            "leaderboards.import_entries": self._import,
            "leaderboards.add_proof": self._add_proof,
            "leaderboards.remove_proof": self._remove_proof,
            "files.put_chunk": self._put_chunk,
        }

    def fold(self, deed: Deed) -> None:
        """Fold in what was done."""
        assert deed.done is not None
        fold = self._folds.get(deed.action)
        body = msgspec.json.decode(deed.done)
        if fold is not None and not self._went_with_board(deed, body):
            fold(deed, body)

    def _went_with_board(self, deed: Deed, body: Body) -> bool:
        """Tell whether another node removed the board meanwhile, with what was done.

        These calls do not lock the board, so that their numbers in the audit trail need not be in
        the order in which they took effect.
        """
        if not self.has_nodes or deed.action not in WITHOUT_LOCK:
            return False
        return body.get("board_id") not in self.boards and self.board_of(body["entry_id"]) is None

    def living(self) -> list[Person]:
        """Return members who were not removed, in the order in which they came."""
        return [one for one in self.people.values() if not one.is_removed]

    def open_sessions(self, member_id: str) -> list[Session]:
        """Return a member's open sessions, oldest first."""
        found = [one for one in self.sessions.values() if one.member_id == member_id]
        return [one for one in found if not one.is_over]

    def board_of(self, entry_id: str) -> ModelBoard | None:
        """Return the board that has an entry."""
        return next((one for one in self.boards.values() if entry_id in one.entries()), None)

    # --- identity -----------------------------------------------------------------------------

    def _register(self, deed: Deed, body: Body) -> None:
        member_id = body["member_id"]
        self.people[member_id] = Person(member_id, body["name"], deed.request["password"])

    def _open_session(self, deed: Deed, body: Body) -> None:
        session = self.sessions.setdefault(
            body["session_id"], Session(body["session_id"], body["member_id"])
        )
        session.refresh_token = body["refresh_token"]
        session.access_token = body["access_token"]
        session.expires_at_ms = body["access_expires_at_ms"]

    def _end(self, deed: Deed, body: Body) -> None:
        self.sessions[body["session_id"]].is_over = True

    def _end_of(self, deed: Deed, body: Body) -> None:
        self._end_all(body["member_id"])

    def _end_all(self, member_id: str, but: str = "") -> int:
        ended = [one for one in self.open_sessions(member_id) if one.session_id != but]
        for session in ended:
            session.is_over = True
        return len(ended)

    def _close_others(self, deed: Deed, body: Body) -> None:
        ended = self._end_all(deed.actor, but=deed.session_id)
        assert ended == body["ended_count"], f"{deed} ended {body}, the model {ended}"

    def _change_password(self, deed: Deed, body: Body) -> None:
        self.people[deed.actor].password = deed.request["new_password"]
        ended = self._end_all(deed.actor, but=deed.session_id)
        # Where nobody heard the answer, there is no number.
        assert body["sessions_ended"] in {ended, None}, f"{deed} ended {body}, the model {ended}"

    def remove_member(self, member_id: str) -> None:
        """Remove a member, with what the rooms do not keep."""
        self.people[member_id].is_removed = True
        self._end_all(member_id)
        access = self.access
        access.bindings = {one for one in access.bindings if one[0] != member_id}
        access.teams = {pair for pair in access.teams if pair[1] != member_id}
        access.bans = {at: until for at, until in access.bans.items() if at[0] != member_id}
        for board in self.boards.values():
            if board.removed_members == "remove":
                for entry_id, entry in board.entries().items():
                    written = self.comments.get(entry_id, {})
                    self.comments[entry_id] = {
                        key: who for key, who in written.items() if who != member_id
                    }
                    if entry.member == member_id:
                        self._forget_entry(board, entry_id)

    # --- access -------------------------------------------------------------------------------

    def _bind(self, deed: Deed, body: Body) -> None:
        self.access.bindings.add((body["subject"], body["role"], body["at"]))

    def _unbind(self, deed: Deed, body: Body) -> None:
        self.access.bindings.discard((body["subject"], body["role"], body["at"]))

    def _define_role(self, deed: Deed, body: Body) -> None:
        self.access.roles[body["name"]] = set(body["permissions"])

    def _delete_role(self, deed: Deed, body: Body) -> None:
        access = self.access
        access.bindings = {one for one in access.bindings if one[1] != body["name"]}
        del access.roles[body["name"]]

    def _delete_team(self, deed: Deed, body: Body) -> None:
        team, access = f"team:{body['team']}", self.access
        access.bindings = {one for one in access.bindings if one[0] != team}
        access.teams = {pair for pair in access.teams if pair[0] != team}

    def _join(self, deed: Deed, body: Body) -> None:
        self.access.teams.add((f"team:{body['team']}", body["member_id"]))

    def _leave(self, deed: Deed, body: Body) -> None:
        self.access.teams.discard((f"team:{body['team']}", body["member_id"]))

    def _ban(self, deed: Deed, body: Body) -> None:
        self.access.bans[body["member_id"], body["at"]] = body["until_ms"]

    def _lift(self, deed: Deed, body: Body) -> None:
        self.access.bans.pop((body["member_id"], body["at"]), None)

    def _set_level(self, deed: Deed, body: Body) -> None:
        member_id, at = body["member_id"], f"board/{body['board_id']}"
        for role, *_ in LEVEL_ROLES.values():
            self.access.bindings.discard((member_id, role, at))
        if body["level"] != Level.NONE:
            self.access.bindings.add((member_id, LEVEL_ROLES[Level(body["level"])][0], at))

    # --- leaderboards -------------------------------------------------------------------------

    def _create_board(self, deed: Deed, body: Body) -> None:
        board_id = body["board_id"]
        self.boards[board_id] = ModelBoard(
            board_id,
            body["removed_members"],
            body["default_level"],
            body["next_reset_at_ms"],
            [NaiveBoard(Direction(body["direction"]), Counting(body["counting"]))],
        )
        self._bind_default(self.boards[board_id], is_bound=True)

    def _bind_default(self, board: ModelBoard, *, is_bound: bool) -> None:
        """Give everyone what a board's default level is, or take it away."""
        if board.default_level != Level.NONE:
            role = LEVEL_ROLES[Level(board.default_level)][0]
            binding = (EVERYONE, role, f"board/{board.board_id}")
            (self.access.bindings.add if is_bound else self.access.bindings.discard)(binding)

    def _update_board(self, deed: Deed, body: Body) -> None:
        board = self.boards[body["board_id"]]
        wanted = deed.request
        if not body["is_rebuilding"]:
            board.change_over()
        now = board.seasons[-1]
        as_wanted = (
            Direction(wanted.get("direction", now.direction)),
            Counting(wanted.get("counting", now.counting)),
        )
        if as_wanted != (now.direction, now.counting):
            board.pending = as_wanted
        if not body["is_rebuilding"]:
            board.change_over()
        board.removed_members = body["removed_members"]
        if board.default_level != body["default_level"]:
            self._bind_default(board, is_bound=False)
            board.default_level = body["default_level"]
            self._bind_default(board, is_bound=True)

    def _remove_board(self, deed: Deed, body: Body) -> None:
        board = self.boards.pop(body["board_id"])
        for entry_id in board.entries():
            self.comments.pop(entry_id, None)
            self.proofs.pop(entry_id, None)
        at, access = f"board/{board.board_id}", self.access
        access.bindings = {one for one in access.bindings if not covers(at, one[2])}
        access.bans = {where: until for where, until in access.bans.items() if where[1] != at}

    def _start_season(self, deed: Deed, body: Body) -> None:
        board = self.boards[body["board_id"]]
        board.change_over()  # it would be refused before
        self.begin_season(board)
        assert body["season"] == len(board.seasons), f"{deed}: {body}"

    @staticmethod
    def begin_season(board: ModelBoard) -> None:
        """Begin the next season, which counts as the one before."""
        now = board.seasons[-1]
        board.seasons.append(NaiveBoard(now.direction, now.counting))

    def _submit(self, deed: Deed, body: Body) -> None:
        board = self.boards[body["board_id"]]
        assert body["score"] == deed.request["score"], f"{deed}: {body}"
        entry = NaiveEntry(
            body["entry_id"],
            body["member_id"],
            body["score"],
            body["submitted_at_ms"],
            is_verified=False,
        )
        board.seasons[body["season"] - 1].add(entry)

    def _verify(self, deed: Deed, body: Body) -> None:
        self._turn(body, is_verified=True)

    def _unverify(self, deed: Deed, body: Body) -> None:
        self._turn(body, is_verified=False)

    def _turn(self, body: Body, *, is_verified: bool) -> None:
        board = self.boards[body["board_id"]]
        season = board.season_of(body["entry_id"])
        before = season.entries[body["entry_id"]]
        assert before.is_verified is not is_verified, f"{before} was turned twice"
        season.set_verified(body["entry_id"], is_verified=is_verified)

    def _remove_entry(self, deed: Deed, body: Body) -> None:
        self._forget_entry(self.boards[body["board_id"]], body["entry_id"])

    def _forget_entry(self, board: ModelBoard, entry_id: str) -> None:
        board.season_of(entry_id).remove(entry_id)
        self.comments.pop(entry_id, None)
        self.proofs.pop(entry_id, None)

    def _add_comment(self, deed: Deed, body: Body) -> None:
        written = self.comments.setdefault(body["entry_id"], {})
        assert body["comment_id"] not in written, f"{deed}: {body} was there already"
        written[body["comment_id"]] = body["member_id"]

    def _remove_comment(self, deed: Deed, body: Body) -> None:
        del self.comments[body["entry_id"]][body["comment_id"]]

    def _import(self, deed: Deed, body: Body) -> None:
        board = self.boards[deed.request["board_id"]]
        refused = {one["row"] for one in body["refused"]}
        by_name = {one.name: one.member_id for one in self.people.values()}
        imported = 0
        for number, row in enumerate(deed.request["entries"]):
            entry_id = imported_id(board.board_id, row)
            if number in refused or entry_id in board.entries():
                continue
            imported += 1
            board.seasons[(deed.request.get("season") or len(board.seasons)) - 1].add(
                NaiveEntry(
                    entry_id,
                    by_name[row["submitter"]],
                    row["score"],
                    row["submitted_at_ms"],
                    is_verified=row["verified"],
                )
            )
        assert imported == body["imported"], f"{deed}: {body}, the model has {imported}"

    def _add_proof(self, deed: Deed, body: Body) -> None:
        self.proofs.setdefault(body["entry_id"], set()).add(body["proof_id"])

    def _remove_proof(self, deed: Deed, body: Body) -> None:
        self.proofs[body["entry_id"]].remove(body["proof_id"])

    def _put_chunk(self, deed: Deed, body: Body) -> None:
        if body["is_finished"]:
            self.people[deed.actor].files.add(body["sha256"])


def imported_id(board_id: str, row: Body) -> str:
    """Return the id that a row of history with a ref gets."""
    return make_imported_id(row["submitted_at_ms"], None, board_id, row["ref"])
