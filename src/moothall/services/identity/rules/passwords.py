"""Decisions about passwords."""

from collections.abc import Iterable
from unicodedata import category, normalize

from moothall.core.errors import InvalidArgumentError
from moothall.services.identity.model import PasswordSettings

_CHOOSE = "choose a few words in a row; they are easy to keep in mind"


def normalise_password(password: str) -> str:
    """Return the one spelling of a password that keyboards of all systems agree on (NFC).

    RFC 8265, section 4.2.2; without it the same keys pressed on another machine can be
    another password. Nothing else is changed.
    """
    return normalize("NFC", password)


def check_password(
    password: str,
    names: Iterable[str],
    settings: PasswordSettings,
    field: str = "password",
) -> None:
    """Refuse a normalised password that is too short, too long, a name, or one character.

    There are no rules of composition (NIST SP 800-63B, 3.1.1.2).

    Args:
        password: As it will be hashed.
        names: Of the member and of the hall; what anybody would try first.
        settings: Its bounds.
        field: Of the request, for the refusal.

    Raises:
        InvalidArgumentError: With the remedy; the password is never repeated.
    """
    if not settings.length_min <= len(password) <= settings.length_max:
        reason = f"a password has {settings.length_min} to {settings.length_max} characters"
        raise InvalidArgumentError(field, reason, _CHOOSE)
    folded = password.casefold()
    if folded in {name.casefold() for name in names}:
        reason = "the password is the name of the member or of the hall"
        raise InvalidArgumentError(field, reason, _CHOOSE)
    if len(set(folded)) == 1:
        raise InvalidArgumentError(field, "the password repeats one character", _CHOOSE)


def check_is_not_common(*, is_common: bool, field: str = "password") -> None:
    """Refuse a password that is among those everybody tries first (NIST SP 800-63B, 3.1.1.2).

    Raises:
        InvalidArgumentError: With the remedy.
    """
    if is_common:
        raise InvalidArgumentError(field, "this is one of the most common passwords", _CHOOSE)


def find_fault_of_import(password: str, settings: PasswordSettings) -> str:
    """Return why a password of another system cannot be imported, or ''.

    It was chosen under other rules, so only what could not be typed at a sign-in is refused.
    """
    if not password:
        return "there is no password"
    if len(password) > settings.length_max:
        return f"the password has more than {settings.length_max} characters"
    if any(category(character) in {"Cc", "Cs"} for character in password):
        return "the password holds a character that cannot be typed"
    return ""
