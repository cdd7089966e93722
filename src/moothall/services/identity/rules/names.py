"""Decisions about names."""

from unicodedata import category

from precis_i18n import get_profile

from moothall.core.errors import InvalidArgumentError
from moothall.core.ids import is_id

NAME_LENGTH_MAX = 32


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


def _is_of_word(character: str) -> bool:
    """Tell whether a word can begin or end so: many scripts end words in a vowel sign."""
    return category(character)[0] in "LMN"
