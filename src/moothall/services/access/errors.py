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
    """The role is not bound there; ``details.remedy`` says where to look."""

    code = Code.NOT_FOUND


class AdministrationClaimedError(ActionError):
    """This hall has its first administrator already; ask an administrator for a role."""

    code = Code.FAILED_PRECONDITION


class LastAdministratorError(ActionError):
    """Without this binding the hall would have no administrator; appoint another one first."""

    code = Code.FAILED_PRECONDITION


class WrongSecretError(ActionError):
    """This is not the one-time secret that the hall showed to its operator at its last start."""

    code = Code.PERMISSION_DENIED
