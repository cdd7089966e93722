"""Decisions about passwords."""

from unicodedata import normalize

from moothall.core.errors import InvalidArgumentError

PASSWORD_LENGTH_MIN = 8


PASSWORD_LENGTH_MAX = 256


def normalise_password(password: str) -> str:
    """Return the one spelling of a password that keyboards of all systems agree on (NFC).

    RFC 8265, section 4.2.2; without it the same keys pressed on another machine can be
    another password. Nothing else is changed.
    """
    return normalize("NFC", password)


def check_password(password: str, name: str) -> None:
    """Refuse a normalised password that is too short, too long, or the name.

    There are no rules of composition (NIST SP 800-63B, 3.1.1.2).

    Raises:
        InvalidArgumentError: With the remedy; the password is never repeated.
    """
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        reason = f"a password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters"
        remedy = "choose a few words in a row; they are easy to keep in mind"
        raise InvalidArgumentError("password", reason, remedy)
    if password.casefold() == name.casefold():
        raise InvalidArgumentError("password", "the password is the name", "choose another one")
