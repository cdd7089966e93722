"""What members want next: seeded, and mostly of the kind that can succeed in the present state.

Some of it cannot: people without the right try what others may, and deeds refer to what is gone.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from moothall.action import EVERYONE
from moothall.core.units import HOUR_MS, MINUTE_MS
from moothall.services.leaderboards.model import Counting, Direction
from moothall.testing import ManualClock
from tests.simulation.deeds import Deed
from tests.simulation.model import Model, ModelBoard, Person, Session
from tests.unit.services.leaderboards.naive_board import NaiveEntry

T = TypeVar("T")

SCORES = (-1.0, 0.0, 1.0, 2.0, 0.1, 0.2, 1e9)
LEVELS = ("none", "read", "write", "moderate")
PERMISSIONS = (
    "scores:read", "scores:write", "scores:moderate", "levels:set", "boards:create",
    "boards:update", "roles:grant", "members:ban", "files:upload", "sessions:own",
)  # fmt: skip
TEAMS = ("reds", "blues")
ROLES = ("judge", "scribe")
PEOPLE_MAX = 7
BOARDS_MAX = 4
SESSIONS_MAX = 4
ENTRIES_MAX = 40
"""Of a board, so that a run stays quick."""
DEVICE = "phone"
UNKEYED = frozenset(
    {
        "files.put_chunk",
        "identity.change_password",
        "identity.remove_member",
        "leaderboards.get_board",
        "leaderboards.list_entries",
        "leaderboards.list_waiting",
    }
)
"""FLOWs and READs, which take no idempotency key."""


class Planner:
    """Thinks of deeds."""

    def __init__(self, model: Model, clock: ManualClock, seed: int) -> None:
        """Plan for the people of ``model``."""
        self._model = model
        self._clock = clock
        self.chance = Random(f"plan {seed}")
        self._count = 0
        self.boss = ""
        """Id of the first administrator, whom nobody removes."""
        self._kinds: list[tuple[int, Callable[[], Deed | None]]] = [
            (2, self.register), (3, self._open_session), (2, self._refresh),
            (1, self._close_session), (1, self._revoke_session), (1, self._close_others),
            (1, self._revoke_all), (1, self._change_password), (1, self._wrong_password),
            (3, self._grant), (3, self._revoke), (1, self._define), (1, self._delete_role),
            (1, self._make_team), (1, self._delete_team), (2, self._join), (1, self._leave),
            (1, self._ban), (2, self._lift),
            (2, self._create_board), (2, self._update_board), (1, self._remove_board),
            (1, self._start_season), (14, self._submit), (14, self._verify), (4, self._unverify),
            (4, self._remove_entry), (4, self._comment), (2, self._uncomment), (4, self._level),
            (3, self._import), (2, self._upload), (3, self._prove), (1, self._unprove),
            (3, self._look),
        ]  # fmt: skip

    # --- choosing -----------------------------------------------------------------------------

    def think(self) -> Deed:
        """Return the next deed."""
        weights = [weight for weight, _ in self._kinds]
        while True:
            [(_, plan)] = self.chance.choices(self._kinds, weights)
            deed = plan()
            if deed is not None:
                return deed

    def deed(self, actor: str, action: str, **request: Any) -> Deed | None:
        """Return a deed of a member who is signed in; None if they have no fresh token."""
        session = self.session_of(actor)
        if session is None:
            return None
        self._count += 1
        key = None if action in UNKEYED else f"key-{self._count}"
        deed = Deed(self._count, actor, action, request, key, session.access_token)
        deed.session_id = session.session_id
        if self.chance.random() < 0.05:
            deed.deadline_ms = 5
        return deed

    def nobodys(self, action: str, **request: Any) -> Deed:
        """Return a deed of somebody who is not signed in."""
        self._count += 1
        return Deed(self._count, "", action, request)

    def session_of(self, member_id: str) -> Session | None:
        """Return an open session with a fresh access token."""
        now_ms = self._clock.now_ms()
        fresh = [
            one
            for one in self._model.open_sessions(member_id)
            if one.access_token and now_ms < one.expires_at_ms - 30_000
        ]
        return self._pick(fresh)

    def _pick(self, values: Sequence[T]) -> T | None:
        return self.chance.choice(values) if values else None

    def anybody(self) -> str:
        """Return a member's id; often the administrator's."""
        if self.chance.random() < 0.4:
            return self.boss
        return self.chance.choice(self._model.living()).member_id

    def _ruler(self) -> str:
        """Return mostly who may rule."""
        return self.boss if self.chance.random() < 0.85 else self.anybody()

    def somebody(self) -> Person:
        """Return a member other than the administrator, if there is one."""
        others = [one for one in self._model.living() if one.member_id != self.boss]
        return self.chance.choice(others or self._model.living())

    def board(self) -> ModelBoard | None:
        """Return a board."""
        return self._pick(list(self._model.boards.values()))

    def _entry(self, *, is_verified: bool | None = None) -> NaiveEntry | None:
        board = self.board()
        if board is None:
            return None
        found = [
            one
            for one in board.entries().values()
            if is_verified is None or one.is_verified is is_verified
        ]
        return self._pick(found)

    def place(self) -> str:
        """Return a path at which roles are bound."""
        board = self.board()
        return f"board/{board.board_id}" if board and self.chance.random() < 0.8 else ""

    # --- identity -----------------------------------------------------------------------------

    def register(self) -> Deed | None:
        """Make an account."""
        if len(self._model.living()) >= PEOPLE_MAX:
            return None
        number = len(self._model.people)
        name = f"member{number}x{self.chance.randrange(100)}"
        return self.nobodys("identity.register", name=name, password=f"a good password {number}")

    def _open_session(self) -> Deed | None:
        who = self.chance.choice(self._model.living())
        if len(self._model.open_sessions(who.member_id)) >= SESSIONS_MAX:
            return None
        return self.sign_in(who)

    def sign_in(self, who: Person) -> Deed:
        """Open a session."""
        fields = {"name": who.name, "password": who.password, "device": DEVICE}
        return self.nobodys("identity.open_session", **fields)

    def _wrong_password(self) -> Deed | None:
        who = self.somebody()
        fields = {"name": who.name, "password": "not the password"}
        return self.nobodys("identity.open_session", **fields)

    def _refresh(self) -> Deed | None:
        session = self._pick(self._model.open_sessions(self.anybody()))
        return self.refresh(session) if session and session.refresh_token else None

    def refresh(self, session: Session) -> Deed:
        """Renew the tokens of a session."""
        return self.nobodys("identity.refresh_session", refresh_token=session.refresh_token)

    def _close_session(self) -> Deed | None:
        return self.deed(self.anybody(), "identity.close_session")

    def _revoke_session(self) -> Deed | None:
        actor = self.anybody()
        session = self._pick(self._model.open_sessions(actor))
        if session is None:
            return None
        return self.deed(actor, "identity.revoke_session", session_id=session.session_id)

    def _close_others(self) -> Deed | None:
        return self.deed(self.anybody(), "identity.close_other_sessions")

    def _revoke_all(self) -> Deed | None:
        member = self.somebody().name
        return self.deed(self._ruler(), "identity.revoke_sessions_of", member=member)

    def _change_password(self) -> Deed | None:
        who = self.somebody()
        return self.deed(
            who.member_id,
            "identity.change_password",
            password=who.password,
            new_password=f"another password {self._count}",
        )

    # --- access -------------------------------------------------------------------------------

    def _subject(self) -> str:
        chance = self.chance.random()
        if chance < 0.1:
            return EVERYONE
        return f"team:{self.chance.choice(TEAMS)}" if chance < 0.3 else self.somebody().name

    def _grant(self) -> Deed | None:
        roles = ("board_reader", "board_writer", "board_moderator", "warden", *ROLES)
        fields = {"role": self.chance.choice(roles), "at": self.place()}
        return self.deed(self._ruler(), "access.grant_role", member=self._subject(), **fields)

    def _revoke(self) -> Deed | None:
        found = self._pick(sorted(self._model.access.bindings))
        if found is None or (found[0], found[1]) == (EVERYONE, "member"):
            return None
        subject, role, at = found
        if subject == self.boss:
            return None
        return self.deed(self._ruler(), "access.revoke_role", member=subject, role=role, at=at)

    def _define(self) -> Deed | None:
        name = self.chance.choice(ROLES)
        verb = "update_role" if name in self._model.access.roles else "define_role"
        held = self.chance.sample(PERMISSIONS, self.chance.randint(1, 3))
        return self.deed(self._ruler(), f"access.{verb}", name=name, permissions=held)

    def _delete_role(self) -> Deed | None:
        name = self.chance.choice(ROLES)
        return self.deed(self._ruler(), "access.delete_role", name=name, force=True)

    def _make_team(self) -> Deed | None:
        return self.deed(self._ruler(), "access.create_team", team=self.chance.choice(TEAMS))

    def _delete_team(self) -> Deed | None:
        return self.deed(self._ruler(), "access.delete_team", team=self.chance.choice(TEAMS))

    def _join(self) -> Deed | None:
        fields = {"team": self.chance.choice(TEAMS), "member": self.somebody().name}
        return self.deed(self._ruler(), "access.add_team_member", **fields)

    def _leave(self) -> Deed | None:
        fields = {"team": self.chance.choice(TEAMS), "member": self.somebody().name}
        return self.deed(self._ruler(), "access.remove_team_member", **fields)

    def _ban(self) -> Deed | None:
        until_ms = self.chance.choice((None, self._clock.now_ms() + MINUTE_MS))
        fields = {"member": self.somebody().name, "at": self.place(), "until_ms": until_ms}
        return self.deed(self._ruler(), "access.ban", **fields)

    def _lift(self) -> Deed | None:
        found = self._pick(sorted(self._model.access.bans))
        if found is None:
            return None
        return self.deed(self._ruler(), "access.lift_ban", member=found[0], at=found[1])

    # --- leaderboards -------------------------------------------------------------------------

    def _create_board(self) -> Deed | None:
        if len(self._model.boards) >= BOARDS_MAX:
            return None
        fields: dict[str, Any] = {"schedule": "0 * * * *"} if self.chance.random() < 0.3 else {}
        return self.deed(
            self._ruler(),
            "leaderboards.create_board",
            board_id=f"board-{self._count + 1}",
            name=f"Board {self._count + 1}",
            direction=self.chance.choice(list(Direction)),
            counting=self.chance.choice(list(Counting)),
            default_level=self.chance.choice(LEVELS[:3]),
            removed_members=self.chance.choice(("keep", "remove")),
            **fields,
        )

    def _update_board(self) -> Deed | None:
        board = self.board()
        if board is None:
            return None
        fields: dict[str, Any] = {
            "direction": self.chance.choice(list(Direction)),
            "counting": self.chance.choice(list(Counting)),
            "default_level": self.chance.choice(LEVELS[:3]),
            "removed_members": self.chance.choice(("keep", "remove")),
        }
        chosen = self.chance.sample(sorted(fields), self.chance.randint(1, 2))
        wanted = {name: fields[name] for name in chosen}
        action = "leaderboards.update_board"
        return self.deed(self._ruler(), action, board_id=board.board_id, **wanted)

    def _remove_board(self) -> Deed | None:
        board = self.board()
        if board is None or len(self._model.boards) < BOARDS_MAX:
            return None
        return self.deed(self._ruler(), "leaderboards.remove_board", board_id=board.board_id)

    def _start_season(self) -> Deed | None:
        board = self.board()
        if board is None or len(board.seasons) > 3:
            return None
        return self.deed(self._ruler(), "leaderboards.start_season", board_id=board.board_id)

    def _submit(self) -> Deed | None:
        board = self.board()
        if board is None or len(board.entries()) >= ENTRIES_MAX:
            return None
        fields = {"board_id": board.board_id, "score": self.chance.choice(SCORES)}
        return self.deed(self.anybody(), "leaderboards.submit_score", **fields)

    def _about(self, action: str, actor: str, *, is_verified: bool | None = None) -> Deed | None:
        entry = self._entry(is_verified=is_verified)
        if entry is None:
            return None
        return self.deed(actor, f"leaderboards.{action}", entry_id=entry.entry_id)

    def _verify(self) -> Deed | None:
        wanted = False if self.chance.random() < 0.9 else None
        return self._about("verify_entry", self._ruler(), is_verified=wanted)

    def _unverify(self) -> Deed | None:
        wanted = True if self.chance.random() < 0.9 else None
        return self._about("unverify_entry", self._ruler(), is_verified=wanted)

    def _remove_entry(self) -> Deed | None:
        return self._about("remove_entry", self._ruler())

    def _comment(self) -> Deed | None:
        entry = self._entry()
        if entry is None:
            return None
        actor = entry.member if entry.member in self._model.people else self.boss
        fields = {"entry_id": entry.entry_id, "text": f"comment {self._count}"}
        return self.deed(actor, "leaderboards.add_comment", **fields)

    def _uncomment(self) -> Deed | None:
        found = [key for written in self._model.comments.values() for key in written]
        comment_id = self._pick(found)
        if comment_id is None:
            return None
        return self.deed(self._ruler(), "leaderboards.remove_comment", comment_id=comment_id)

    def _level(self) -> Deed | None:
        board = self.board()
        if board is None:
            return None
        fields = {"member": self.somebody().name, "level": self.chance.choice(LEVELS)}
        action = "leaderboards.set_level"
        return self.deed(self._ruler(), action, board_id=board.board_id, **fields)

    def _import(self) -> Deed | None:
        board = self.board()
        if board is None or len(board.entries()) >= ENTRIES_MAX:
            return None
        at_ms = self._clock.now_ms() - HOUR_MS
        rows = [
            {
                "submitter": self.chance.choice(self._model.living()).name,
                "score": self.chance.choice(SCORES),
                "submitted_at_ms": at_ms + self.chance.choice((0, 1_000)),
                "verified": self.chance.random() < 0.7,
                "ref": f"{self._count}/{number}",
            }
            for number in range(self.chance.randint(1, 6))
        ]
        fields = {"board_id": board.board_id, "entries": rows}
        return self.deed(self._ruler(), "leaderboards.import_entries", **fields)

    # --- files --------------------------------------------------------------------------------

    def _upload(self) -> Deed | None:
        data = f"file {self.chance.randrange(6)}".encode() * 50
        return self.deed(
            self.anybody(),
            "files.put_chunk",
            sha256=hashlib.sha256(data).hexdigest(),
            offset=0,
            size_bytes=len(data),
            data=b64encode(data).decode(),
        )

    def _prove(self) -> Deed | None:
        entry = self._entry()
        if entry is None or entry.member not in self._model.people:
            return None
        sha256 = self._pick(sorted(self._model.people[entry.member].files))
        if sha256 is None:
            return None
        fields = {"entry_id": entry.entry_id, "sha256": sha256, "name": "proof.txt"}
        return self.deed(entry.member, "leaderboards.add_proof", **fields)

    def _unprove(self) -> Deed | None:
        found = sorted(one for ids in self._model.proofs.values() for one in ids)
        proof_id = self._pick(found)
        if proof_id is None:
            return None
        return self.deed(self._ruler(), "leaderboards.remove_proof", proof_id=proof_id)

    # --- reading ------------------------------------------------------------------------------

    def _look(self) -> Deed | None:
        board = self.board()
        if board is None:
            return None
        verb = self.chance.choice(("list_entries", "list_waiting", "get_board"))
        actor, at = self.anybody(), board.board_id
        return self.deed(actor, f"leaderboards.{verb}", board_id=at)
