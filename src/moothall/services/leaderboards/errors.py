"""Expected failures of the leaderboards room."""

from moothall.core.codes import Code
from moothall.core.errors import ActionError


class BoardNotFoundError(ActionError):
    """There is no such board."""

    code = Code.NOT_FOUND


class BoardExistsError(ActionError):
    """There is a board of this id already."""

    code = Code.ALREADY_EXISTS


class BoardBusyError(ActionError):
    """The board's ranking is being built anew; try again in ``details.retry_after_ms``."""

    code = Code.UNAVAILABLE


class SeasonNotFoundError(ActionError):
    """The board has no such season."""

    code = Code.NOT_FOUND


class EntryNotFoundError(ActionError):
    """There is no such entry."""

    code = Code.NOT_FOUND


class NotRankedError(ActionError):
    """The member has no verified entry on this board."""

    code = Code.NOT_FOUND


class AlreadyVerifiedError(ActionError):
    """The entry is verified already."""

    code = Code.FAILED_PRECONDITION


class NotVerifiedError(ActionError):
    """The entry is not verified."""

    code = Code.FAILED_PRECONDITION


class NotSubmitterError(ActionError):
    """Only the entry's submitter and the board's moderators may do this."""

    code = Code.PERMISSION_DENIED


class CommentNotFoundError(ActionError):
    """There is no such comment."""

    code = Code.NOT_FOUND


class NotAuthorError(ActionError):
    """Only whoever wrote the comment and the board's moderators may remove it."""

    code = Code.PERMISSION_DENIED


class CommentsFullError(ActionError):
    """The entry has as many comments as one entry may have; ``details.limit`` says how many."""

    code = Code.FAILED_PRECONDITION


class LevelTooHighError(ActionError):
    """Moderators set levels below moderator, for members below moderator."""

    code = Code.PERMISSION_DENIED


class OwnLevelError(ActionError):
    """Nobody raises their own level."""

    code = Code.PERMISSION_DENIED


class LevelUnchangedError(ActionError):
    """The member has this level of their own already."""

    code = Code.FAILED_PRECONDITION


class MemberBannedError(ActionError):
    """The member is banned there, so that no level would act; the ban must end first."""

    code = Code.FAILED_PRECONDITION


class ProofNotFoundError(ActionError):
    """There is no such proof."""

    code = Code.NOT_FOUND


class ProofsFullError(ActionError):
    """The entry has as many proofs as one entry may have; ``details.limit`` says how many."""

    code = Code.FAILED_PRECONDITION
