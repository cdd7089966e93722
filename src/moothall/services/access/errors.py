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


class RoleBuiltInError(ActionError):
    """This role came with its room and cannot be changed; define another one."""

    code = Code.FAILED_PRECONDITION


class RoleInUseError(ActionError):
    """The role is bound; ``details.bindings`` says how often."""

    code = Code.FAILED_PRECONDITION


class LimitReachedError(ActionError):
    """The hall keeps no more of these; ``details.limit`` says how many."""

    code = Code.FAILED_PRECONDITION


class TeamNotFoundError(ActionError):
    """There is no team of this name."""

    code = Code.NOT_FOUND


class TeamExistsError(ActionError):
    """There is a team of this name already."""

    code = Code.ALREADY_EXISTS


class TeamMemberNotFoundError(ActionError):
    """The member does not belong to this team."""

    code = Code.NOT_FOUND


class OwnBanError(ActionError):
    """Nobody bans themselves."""

    code = Code.FAILED_PRECONDITION


class BanExceedsOwnError(ActionError):
    """Nobody bans who holds more than they do; ``details.permission`` says what is missing."""

    code = Code.PERMISSION_DENIED


class BanNotFoundError(ActionError):
    """There is no ban of this member there; ``details.remedy`` says where to look."""

    code = Code.NOT_FOUND


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


class AuditBrokenError(ActionError):
    """The audit trail is not as it was sealed; ``details.number`` is the first wrong row."""

    code = Code.FAILED_PRECONDITION
