"""Expected failures of the identity room."""

from moothall.core.codes import Code
from moothall.core.errors import ActionError


class NameTakenError(ActionError):
    """Another member has this name, or one that looks the same."""

    code = Code.ALREADY_EXISTS


class WrongCredentialsError(ActionError):
    """Name and password do not belong together; check both and try again."""

    code = Code.UNAUTHENTICATED


class SessionEndedError(ActionError):
    """The session has ended, or the refresh token is not its newest one."""

    code = Code.UNAUTHENTICATED


class MemberNotFoundError(ActionError):
    """There is no member of this name or id."""

    code = Code.NOT_FOUND
