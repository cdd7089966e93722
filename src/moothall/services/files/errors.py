"""Expected failures of the files room."""

from moothall.core.codes import Code
from moothall.core.errors import ActionError


class FileTooLargeError(ActionError):
    """The file is larger than this hall takes; ``details.size_bytes_max`` says how large."""

    code = Code.INVALID_ARGUMENT


class QuotaExceededError(ActionError):
    """You have uploaded as much as you may; delete files that nothing refers to."""

    code = Code.FAILED_PRECONDITION


class HallFullError(ActionError):
    """The hall keeps as many bytes of files as it may; tell its operator."""

    code = Code.FAILED_PRECONDITION


class ChunkOutOfOrderError(ActionError):
    """Chunks come one after the other; the next one begins at ``details.offset``."""

    code = Code.FAILED_PRECONDITION


class HashMismatchError(ActionError):
    """The bytes have another hash than the file was said to have; the upload is gone."""

    code = Code.INVALID_ARGUMENT


class NoSuchFileError(ActionError):
    """There is no such file, or it is not yours to read."""

    code = Code.NOT_FOUND


class FileHeldError(ActionError):
    """Something in the hall refers to this file; remove that first."""

    code = Code.FAILED_PRECONDITION


class HoldExistsError(ActionError):
    """The room holds a file under this name already."""

    code = Code.ALREADY_EXISTS


class HoldNotFoundError(ActionError):
    """The room holds no file under this name."""

    code = Code.NOT_FOUND
