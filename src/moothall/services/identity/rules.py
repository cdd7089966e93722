"""Decisions about names, passwords and refresh tokens."""

from enum import Enum, auto
from typing import NamedTuple
from unicodedata import category, normalize

from precis_i18n import get_profile

from moothall.core.errors import InvalidArgumentError
from moothall.core.ids import is_id
from moothall.core.units import DAY_MS, SECOND_MS
from moothall.services.identity.model import Session

NAME_LENGTH_MAX = 32
PASSWORD_LENGTH_MIN = 8
PASSWORD_LENGTH_MAX = 256

SESSION_LIFE_MS = 30 * DAY_MS
"""How long a session lives after it was opened."""

REFRESH_GRACE_MS = 10 * SECOND_MS
"""How long the refresh token before the newest may be repeated, for a reply that was lost."""

RESERVED_NAMES = frozenset({"everyone", "room", "moothall", "system"})

_CASE_PRESERVED = get_profile("UsernameCasePreserved")
_CASE_MAPPED = get_profile("UsernameCaseMapped")


def check_name(name: str, field: str = "name") -> tuple[str, str]:
    """Return the name as shown and its key, by RFC 8265; two names of one key are one name.

    A name is one or more parts with single spaces between them (section 3.1).

    Raises:
        InvalidArgumentError: The name is empty, too long, reserved, or holds characters
            that a user name must not hold (symbols, or what only looks like a letter).
    """
    parts = [part for part in name.split(" ") if part]
    try:
        shown = " ".join(_CASE_PRESERVED.enforce(part) for part in parts)
        key = " ".join(_CASE_MAPPED.enforce(part) for part in parts)
    except UnicodeEncodeError:
        reason = "the name has a character that a name cannot hold"
        remedy = "use letters, digits, spaces, '.', '_' and '-'"
        raise InvalidArgumentError(field, reason, remedy) from None
    if not shown:
        raise InvalidArgumentError(field, "the name is empty", "give 1 to 32 characters")
    if len(shown) > NAME_LENGTH_MAX:
        reason = f"a name has at most {NAME_LENGTH_MAX} characters"
        raise InvalidArgumentError(field, reason, "choose a shorter name")
    if not (_is_of_word(shown[0]) and _is_of_word(shown[-1])):
        reason = "a name begins and ends with a letter or digit"
        raise InvalidArgumentError(field, reason, "choose another name")
    if not shown.isprintable():  # joiners, which RFC 5892 lets stand in some scripts
        raise InvalidArgumentError(field, "a name holds nothing invisible", "type it anew")
    if "/" in shown or ":" in shown:
        raise InvalidArgumentError(field, "a name holds no '/' and no ':'", "choose another name")
    if key in RESERVED_NAMES or is_id(key):
        raise InvalidArgumentError(field, "this name is reserved", "choose another name")
    return shown, key


def find_key(name: str) -> str | None:
    """Return the key of a name that somebody looks for, or None if nobody can have it."""
    try:
        return check_name(name)[1]
    except InvalidArgumentError:
        return None


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


def _is_of_word(character: str) -> bool:
    """Tell whether a word can begin or end so: many scripts end words in a vowel sign."""
    return category(character)[0] in "LMN"


class Rotation(Enum):
    """What to do with a refresh token that is genuine."""

    ROTATE = auto()
    """It is the newest one: give its successor."""
    REPEAT = auto()
    """It is the one before and its reply may have been lost: give the newest again."""
    END = auto()
    """It was used before: somebody else may hold it, so the session ends."""
    REFUSE = auto()
    """The session is over."""


class RefreshToken(NamedTuple):
    """The parts of a refresh token that was found genuine."""

    session_id: str
    generation: int


def decide_rotation(session: Session | None, token: RefreshToken, now_ms: int) -> Rotation:
    """Decide by the session's row (RFC 9700, section 4.14.2)."""
    if session is None or session.ended_at_ms is not None or now_ms >= session.expires_at_ms:
        return Rotation.REFUSE
    if token.generation == session.generation:
        return Rotation.ROTATE
    # Both ways, because the clock may have been set back since.
    is_graced = abs(now_ms - session.rotated_at_ms) <= REFRESH_GRACE_MS
    if token.generation == session.generation - 1 and is_graced:
        return Rotation.REPEAT
    return Rotation.END
