"""One board: its ranking by pages, and what may be done there by level and permission."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from moothall.client.cli.render import format_time, show_value
from moothall.client.cli.shell.engine import Place, Shell
from moothall.client.cli.shell.entries import EntriesPlace, WaitingPlace
from moothall.client.cli.shell.entry import EntryPlace
from moothall.client.cli.shell.levels import LevelsPlace
from moothall.client.cli.shell.live import follow_board
from moothall.client.cli.shell.menu import Choice, Screen, Step, table
from moothall.client.cli.shell.pages import PAGE_ROWS, OffsetPages, number_rows
from moothall.client.cli.shell.seasons import SeasonsPlace
from moothall.client.cli.shell.settings import SettingsPlace, remove_board

MANAGED = ("boards:update", "boards:remove")
WRITERS = frozenset({"write", "moderate"})


@dataclass(frozen=True, slots=True)
class BoardView:
    """What was loaded of a board.

    Attributes:
        board: As ``leaderboards.get_board`` answers.
        ranking: As ``leaderboards.list_entries`` answers.
        held: Those of ``MANAGED`` that whoever looks holds here.
        season: The season shown; None for the current one.
        is_around: Whether the ranking shown is the part around oneself.
    """

    board: Any
    ranking: Any
    held: frozenset[str] = frozenset()
    season: int | None = None
    is_around: bool = False

    @property
    def is_moderator(self) -> bool:
        """Whether whoever looks may verify here."""
        return bool(self.board["level"] == "moderate")


def describe_board(view: BoardView) -> list[str]:
    """Return how a board counts, and what whoever looks may do."""
    board = view.board
    better = "the lower score" if board["direction"] == "ascending" else "the higher score"
    counts = {
        "best": "the best of each member counts",
        "last": "the last of each member counts",
        "sum": "the sum of each member counts",
        "every": "every entry counts",
    }
    number = view.season or board["season"]
    lines = [
        f"{better.capitalize()} is better; {counts.get(board['counting'], board['counting'])}.",
        f"Your level: {board['level']}. Season {number}, {view.ranking['total']} ranked.",
    ]
    if board["is_rebuilding"]:
        lines.append("The ranking is being built anew: nothing can be verified meanwhile.")
    return lines


def ranking_lines(ranking: Any) -> list[str]:
    """Return a part of a ranking as a table: number, place, name, score, date."""
    rows = [
        (
            str(at),
            str(one["place"]),
            one["name"] or "(removed)",
            show_value("score", one["score"]),
            format_time(one["submitted_at_ms"])[:16],
        )
        for at, one in enumerate(ranking["standings"], start=ranking["offset"] + 1)
    ]
    if not rows:
        return ["Nobody is ranked here yet."]
    return table(("no", "place", "name", "score", "date"), rows)


def board_screen(view: BoardView, place: "BoardPlace", pages: OffsetPages) -> Screen:
    """Return the screen of a board."""
    board_id, name = view.board["board_id"], view.board["name"]
    numbers = number_rows(
        [partial(_enter, entry_id=one["entry_id"]) for one in view.ranking["standings"]],
        view.ranking["offset"],
    )
    turn = () if view.is_around else pages.choices()
    has_moved = view.is_around or pages.offset > 0
    return Screen(
        f"Board {name} ({board_id})",
        (*describe_board(view), "", *ranking_lines(view.ranking)),
        (
            *numbers,
            *turn,
            Choice("t", "top", "from the top", place.look_at_top, has_moved),
            *_member_choices(view, place),
            *_manager_choices(view),
        ),
        rows="one entry",
    )


def _member_choices(view: BoardView, place: "BoardPlace") -> tuple[Choice, ...]:
    """Return what those may do who read, and those who write."""
    board_id, name = view.board["board_id"], view.board["name"]
    return (
        Choice(
            "a",
            "around",
            "around me",
            place.look_around,
            not view.is_around,
            help="your own place, with the ones right before and after it",
        ),
        Choice(
            "s",
            "submit",
            "submit a score",
            place.submit,
            view.board["level"] in WRITERS,
            help="a score of yours; it gets a place once a moderator verifies it",
        ),
        Choice(
            "m",
            "mine",
            "my entries",
            place.list_own,
            help="all that you submitted here, verified or not",
        ),
        Choice(
            "w",
            "waiting",
            "waiting entries",
            lambda _: WaitingPlace(board_id, name),
            help="entries without a verdict; yours only, unless you moderate",
        ),
        Choice(
            "e",
            "seasons",
            "seasons",
            place.list_seasons,
            help="rankings of other times; the one you choose is shown here",
        ),
        Choice(
            "l",
            "live",
            "follow live",
            partial(follow_board, board_id=board_id, is_moderator=view.is_moderator),
            help="each thing that happens here is a line, until Enter",
        ),
    )


def _manager_choices(view: BoardView) -> tuple[Choice, ...]:
    """Return what moderators may do, and those who manage the board."""
    board_id, name = view.board["board_id"], view.board["name"]
    return (
        Choice(
            "v",
            "levels",
            "levels",
            lambda _: LevelsPlace(board_id, name),
            view.is_moderator,
            help="what single members may do here, and setting it",
        ),
        Choice(
            "c",
            "change",
            "change the board",
            lambda _: SettingsPlace(board_id, name),
            "boards:update" in view.held,
            help="its name, what counts, what everyone may do, when seasons begin",
        ),
        Choice(
            "d",
            "remove",
            "remove the board",
            partial(remove_board, board=view.board),
            "boards:remove" in view.held,
            help="with all entries, for ever; its name is asked for",
        ),
    )


class BoardPlace:
    """One board."""

    def __init__(self, board_id: str, name: str) -> None:
        self.title = f"Board {name} ({board_id})"
        self.season: int | None = None
        self._board_id = board_id
        self._name = name
        self._pages = OffsetPages()
        self._is_around = False

    def look(self, shell: Shell) -> Screen:
        """Load the board, the part of its ranking, and what may be done."""
        board, ranking = shell.call_all(
            ("leaderboards.get_board", {"board_id": self._board_id}), self._ranking_call()
        )
        if not self._is_around and self._pages.note(ranking["total"]):
            ranking = shell.call_all(self._ranking_call())[0]
        self._name = board["name"]
        held = shell.may(*MANAGED, at=f"board/{self._board_id}")
        view = BoardView(board, ranking, held, self.season, self._is_around)
        return board_screen(view, self, self._pages)

    def look_around(self, shell: Shell) -> Place | Step:
        """Show the part around oneself from now on; whoever has no place is told so and stays."""
        season = {} if self.season is None else {"season": self.season}
        shell.call("leaderboards.get_rank", board_id=self._board_id, **season)
        self._is_around = True
        return Step.STAY

    def look_at_top(self, _shell: Shell) -> Place | Step:
        """Show the ranking from its beginning."""
        self._is_around = False
        self._pages.go_to(0)
        return Step.STAY

    def list_own(self, shell: Shell) -> Place | Step:
        """Go to one's own entries on this board."""
        session = shell.hall().session
        member_id = "" if session is None else session.member_id
        return EntriesPlace(member_id, self._board_id, f"Your entries on {self._name}")

    def list_seasons(self, _shell: Shell) -> Place | Step:
        """Go to the seasons, one of which may be chosen to be shown here."""
        return SeasonsPlace(self._board_id, self._name, self._show_season)

    def submit(self, shell: Shell) -> Place | Step:
        """Submit a score."""
        score = shell.ask_number("Score (nothing to stop)")
        if score is None:
            return Step.KEEP
        description = shell.ask("Description, kept as first comment (may be empty)")
        summary = (
            ("Board", self._name),
            ("Score", show_value("score", score)),
            ("Description", description),
        )
        if not shell.review("Submit this score?", summary):
            return Step.KEEP
        asked = {"board_id": self._board_id, "score": score, "description": description}
        entry = shell.call("leaderboards.submit_score", **asked)
        shell.say("Submitted. It has no place until a moderator verifies it.")
        return EntryPlace(entry["entry_id"])

    def _show_season(self, season: int | None) -> None:
        self.season = season
        self._is_around = False
        self._pages.go_to(0)

    def _ranking_call(self) -> tuple[str, dict[str, Any]]:
        asked: dict[str, Any] = {"board_id": self._board_id}
        if self.season is not None:
            asked["season"] = self.season
        if self._is_around:
            return "leaderboards.list_around", {**asked, "count": PAGE_ROWS // 2}
        offset = {"offset": self._pages.offset, "limit": PAGE_ROWS}
        return "leaderboards.list_entries", {**asked, **offset}


def _enter(_shell: Shell, *, entry_id: str) -> Place | Step:
    return EntryPlace(entry_id)
