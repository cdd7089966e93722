"""Public verbs of the leaderboards room: boards, entries, ranks."""

from moothall.services.leaderboards.actions.boards import (
    CreateBoard,
    GetBoard,
    ListBoards,
    RemoveBoard,
    UpdateBoard,
    create_board,
    get_board,
    list_boards,
    remove_board,
    update_board,
)
from moothall.services.leaderboards.actions.comments import (
    AddComment,
    ListComments,
    RemoveComment,
    add_comment,
    list_comments,
    remove_comment,
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
from moothall.services.leaderboards.actions.levels import (
    ListLevels,
    SetLevel,
    list_levels,
    set_level,
)
from moothall.services.leaderboards.actions.ranks import (
    GetRank,
    ListAround,
    ListEntries,
    get_rank,
    list_around,
    list_entries,
)
from moothall.services.leaderboards.actions.removal import RemoveEntry, remove_entry
from moothall.services.leaderboards.actions.seasons import (
    ListSeasons,
    StartSeason,
    list_seasons,
    start_season,
)
from moothall.services.leaderboards.actions.views import (
    GetEntry,
    ListEntriesOf,
    get_entry,
    list_entries_of,
)

__all__ = [
    "AddComment",
    "CreateBoard",
    "GetBoard",
    "GetEntry",
    "GetRank",
    "ImportEntries",
    "ListAround",
    "ListBoards",
    "ListComments",
    "ListEntries",
    "ListEntriesOf",
    "ListLevels",
    "ListSeasons",
    "RemoveBoard",
    "RemoveComment",
    "RemoveEntry",
    "SetLevel",
    "StartSeason",
    "SubmitScore",
    "UnverifyEntry",
    "UpdateBoard",
    "VerifyEntry",
    "add_comment",
    "create_board",
    "get_board",
    "get_entry",
    "get_rank",
    "import_entries",
    "list_around",
    "list_boards",
    "list_comments",
    "list_entries",
    "list_entries_of",
    "list_levels",
    "list_seasons",
    "list_waiting",
    "remove_board",
    "remove_comment",
    "remove_entry",
    "set_level",
    "start_season",
    "submit_score",
    "unverify_entry",
    "update_board",
    "verify_entry",
]
