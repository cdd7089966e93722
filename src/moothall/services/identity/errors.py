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


class HallFullError(ActionError):
    """As many sessions are open as this hall allows; try again later."""

    code = Code.RESOURCE_EXHAUSTED


class SessionNotFoundError(ActionError):
    """You have no open session of this id; see identity.list_sessions."""

    code = Code.NOT_FOUND


class AudienceNotFoundError(ActionError):
    """No resource server of this name is registered; see identity.list_audiences."""

    code = Code.NOT_FOUND


class AudienceExistsError(ActionError):
    """A resource server of this name is registered already."""

    code = Code.ALREADY_EXISTS


class TooManyAudiencesError(ActionError):
    """As many resource servers are registered as may be; remove one first."""

    code = Code.RESOURCE_EXHAUSTED


class ServerKeyTakenError(ActionError):
    """Another resource server has this key; each has its own."""

    code = Code.ALREADY_EXISTS


class ServerRefusedError(ActionError):
    """This assertion proves no resource server; see whether its key is registered here."""

    # One answer for what is altered, old, used, for another hall, or of a server that nobody knows.
    code = Code.UNAUTHENTICATED


class KeyNotFoundError(ActionError):
    """There is no signing key of this id that has not been retired; see identity.list_keys."""

    code = Code.NOT_FOUND


class RotationPendingError(ActionError):
    """The next key is published already and waits for its time."""

    code = Code.FAILED_PRECONDITION


class TooManyKeysError(ActionError):
    """As many keys are published as may be; wait until old ones are retired, or retire one."""

    code = Code.RESOURCE_EXHAUSTED


class MemberNotFoundError(ActionError):
    """There is no member of this name or id."""

    code = Code.NOT_FOUND


class MemberNeededError(ActionError):
    """The hall cannot do without this member yet; ``details.reason`` says why."""

    code = Code.FAILED_PRECONDITION


class NotByThisWayError(ActionError):
    """Nobody removes themselves by this way; ``details.remedy`` names the other one."""

    code = Code.FAILED_PRECONDITION


class AccountLockedError(ActionError):
    """Too many wrong passwords in a row: none is looked at until the lock ends."""

    # Not `unauthenticated`: a client would ask for another password. Not
    # `resource_exhausted`: it counts as retryable, and a program would go on trying by itself.
    code = Code.FAILED_PRECONDITION


class RecoveryRefusedError(ActionError):
    """This code does not reset this member's password; ask for a new one."""

    # One answer for what is wrong, spent, expired, used up, or of a name that nobody has.
    code = Code.UNAUTHENTICATED


class RecoveryExceedsOwnError(ActionError):
    """Nobody takes over an account that may do more; ``details.permission`` says what."""

    code = Code.PERMISSION_DENIED


class RegistrationClosedError(ActionError):
    """This hall takes no new accounts; an administrator can add one."""

    code = Code.FAILED_PRECONDITION


class InvitationRefusedError(ActionError):
    """This invitation makes no account: it is wrong, used up, expired or was taken back."""

    code = Code.PERMISSION_DENIED


class InvitationNotFoundError(ActionError):
    """There is no invitation of this id; see identity.list_invitations."""

    code = Code.NOT_FOUND


class ContactCodeRefusedError(ActionError):
    """This code verifies nothing: it is wrong, used, expired, or was guessed too often."""

    code = Code.PERMISSION_DENIED


class ContactLimitError(ActionError):
    """You have as many contacts as one member may have; remove one first."""

    code = Code.FAILED_PRECONDITION


class ContactNotFoundError(ActionError):
    """You have no such contact; see identity.list_contacts."""

    code = Code.NOT_FOUND


class LastContactError(ActionError):
    """In this hall every account keeps a contact; add another one first."""

    code = Code.FAILED_PRECONDITION


class MessageNotSentError(ActionError):
    """The hall cannot send a message to this kind of address now."""

    code = Code.UNAVAILABLE


class GuestsRefusedError(ActionError):
    """This hall has no guests; make an account."""

    code = Code.FAILED_PRECONDITION


class GuestNameError(ActionError):
    """A guest keeps the name that the hall made; become a member to choose one."""

    code = Code.FAILED_PRECONDITION


class NotAGuestError(ActionError):
    """You are a member already."""

    code = Code.FAILED_PRECONDITION


class RenamedTooOftenError(ActionError):
    """Too many former names are still reserved; wait until the oldest one is free."""

    code = Code.FAILED_PRECONDITION
