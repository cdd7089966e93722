"""Expected failures of the hall room."""

from moothall.core.codes import Code
from moothall.core.errors import ActionError


class ConnectionNotFoundError(ActionError):
    """There is no such connection."""

    code = Code.NOT_FOUND
