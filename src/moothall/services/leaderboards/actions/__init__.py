"""Public verbs of the leaderboards room: boards, entries, ranks."""

from moothall.services.leaderboards.actions.boards import (
    CreateBoard,
    GetBoard,
    ListBoards,
    create_board,
    get_board,
    list_boards,
)
from moothall.services.leaderboards.actions.entries import (
    SubmitScore,
    UnverifyEntry,
    VerifyEntry,
    list_waiting,
    submit_score,
    unverify_entry,
    verify_entry,
)
from moothall.services.leaderboards.actions.imports import ImportEntries, import_entries
from moothall.services.leaderboards.actions.ranks import (
    GetRank,
    ListAround,
    ListEntries,
    get_rank,
    list_around,
    list_entries,
)

__all__ = [
    "CreateBoard",
    "GetBoard",
    "GetRank",
    "ImportEntries",
    "ListAround",
    "ListBoards",
    "ListEntries",
    "SubmitScore",
    "UnverifyEntry",
    "VerifyEntry",
    "create_board",
    "get_board",
    "get_rank",
    "import_entries",
    "list_around",
    "list_boards",
    "list_entries",
    "list_waiting",
    "submit_score",
    "unverify_entry",
    "verify_entry",
]
