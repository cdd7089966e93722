"""Expected failures of the access room."""

from moothall.core.codes import Code
from moothall.core.errors import ActionError


class RoleNotFoundError(ActionError):
    """There is no role of this name."""

    code = Code.NOT_FOUND


class RoleExistsError(ActionError):
    """There is a role of this name already."""

    code = Code.ALREADY_EXISTS


class GrantExceedsOwnError(ActionError):
    """Nobody grants more than they hold; ``details.permission`` says what is missing."""

    code = Code.PERMISSION_DENIED


class BindingNotFoundError(ActionError):
    """The role is not bound there to this member."""

    code = Code.NOT_FOUND


class AdministrationClaimedError(ActionError):
    """This hall has its first administrator already."""

    code = Code.FAILED_PRECONDITION


class WrongSecretError(ActionError):
    """This is not the one-time secret that the hall showed to its operator."""

    code = Code.PERMISSION_DENIED
