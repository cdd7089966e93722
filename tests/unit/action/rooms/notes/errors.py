"""Expected failures of the notes room."""

from moothall.core.codes import Code
from moothall.core.errors import ActionError


class NoteRefusedError(ActionError):
    """The note was refused."""

    code = Code.FAILED_PRECONDITION


class NoteLostError(ActionError):
    """The note was lost; no action lists this."""

    code = Code.NOT_FOUND


class NoteGoneError(ActionError):
    """There is no such note."""

    code = Code.NOT_FOUND
