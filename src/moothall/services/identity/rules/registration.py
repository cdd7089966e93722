"""Decisions about who may make an account."""

from moothall.core.errors import InvalidArgumentError
from moothall.services.identity.errors import RegistrationClosedError
from moothall.services.identity.model import RegistrationSettings

NEEDS = {"open": (), "invite": ("invitation",), "contact": ("contact", "code"), "closed": ()}
"""What ``register`` must be given in each mode besides name and password."""

INVITATION_KEPT_DAYS = 30
"""How long an invitation is still listed after it expired."""


def check_is_open(settings: RegistrationSettings) -> None:
    """Refuse a newcomer where nobody may register.

    Raises:
        RegistrationClosedError: failed_precondition.
    """
    if settings.mode == "closed":
        raise RegistrationClosedError(remedy="ask an administrator of the hall for an account")


def check_proofs(
    settings: RegistrationSettings, *, invitation: str | None, contact: str, code: str | None
) -> None:
    """Refuse a newcomer who brings less than this hall asks for, or what it cannot use.

    A verified contact is welcome in every mode.

    Raises:
        RegistrationClosedError: failed_precondition.
        InvalidArgumentError: A proof is missing, or has no meaning here.
    """
    check_is_open(settings)
    if settings.mode == "invite" and invitation is None:
        reason, remedy = "this hall makes accounts by invitation", "give the code of an invitation"
        raise InvalidArgumentError("invitation", reason, remedy)
    if settings.mode != "invite" and invitation is not None:
        reason = "this hall asks for no invitation"
        raise InvalidArgumentError("invitation", reason, "leave it out")
    ask = "call identity.request_contact; it sends a code there"
    if settings.mode == "contact" and not contact:
        reason = "this hall asks for an address at which you can be reached"
        raise InvalidArgumentError("contact", reason, ask)
    if contact and code is None:
        raise InvalidArgumentError("code", "the code that was sent to the contact is missing", ask)
    if code is not None and not contact:
        reason, remedy = "the contact is missing to which the code was sent", "give it"
        raise InvalidArgumentError("contact", reason, remedy)
