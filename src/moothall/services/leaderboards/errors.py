"""Expected failures of the leaderboards room."""

from moothall.core.codes import Code
from moothall.core.errors import ActionError


class BoardNotFoundError(ActionError):
    """There is no such board."""

    code = Code.NOT_FOUND


class BoardExistsError(ActionError):
    """There is a board of this id already."""

    code = Code.ALREADY_EXISTS


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
