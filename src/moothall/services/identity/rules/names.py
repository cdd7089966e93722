"""Decisions about names: what one may be, and which of them look alike."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from unicodedata import category, normalize

import msgspec
from confusable_homoglyphs.utils import path  # type: ignore[import-untyped] # it has no types
from precis_i18n import get_profile

from moothall.core.errors import InvalidArgumentError
from moothall.core.ids import is_id

NAME_LENGTH_MAX = 32
RESERVED_NAMES = frozenset({"everyone", "room", "moothall", "system"})
NAMES_HELD_MAX = 3
"""Former names that wait for one member at a time; so often can one be renamed meanwhile."""


class _Similar(msgspec.Struct, gc=False):
    """A character, or some, in the library's table; the rest of what it says is left unread."""

    c: str


@cache
def _prototypes() -> Mapping[int, str]:
    """Return what each character looks like, from the library's table of what is similar.

    Read when the first name is looked at, and by its own decoder: the library, when imported,
    takes longer and keeps ten times as much.
    """
    table = Path(path("confusables.json")).read_bytes()
    for mark in (rb"\u200e", rb"\u200f"):  # directions, which came along with its source
        table = table.replace(mark, b"")
    return _prototypes_in(msgspec.json.decode(table, type=dict[str, list[_Similar]]))


def _prototypes_in(similar: Mapping[str, Sequence[_Similar]]) -> dict[int, str]:
    """Return what each character looks like.

    The table tells for each prototype all that looks like it, and for everything else its
    prototype alone. Of two that have only each other either will do, if it is always the same.
    """
    found = {
        one: others[0].c
        for one, others in similar.items()
        if len(one) == 1
        and len(others) == 1
        and (len(others[0].c) > 1 or len(similar.get(others[0].c, ())) > 1 or others[0].c < one)
    }
    return {
        ord(one): "".join(found.get(character, character) for character in prototype)
        for one, prototype in found.items()
    }


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
        if name.isascii() and name.isprintable():
            # All of it may stand as it is (ASCII7, RFC 8264 section 9.11), at a tenth of the price.
            shown = " ".join(parts)
            key = shown.lower()
        else:
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
    if key in RESERVED_NAMES or skeleton_of(shown) in _reserved_skeletons() or is_id(key):
        raise InvalidArgumentError(field, "this name is reserved", "choose another name")
    return shown, key


def find_key(name: str) -> str | None:
    """Return the key of a name that somebody looks for, or None if nobody can have it."""
    try:
        return check_name(name)[1]
    except InvalidArgumentError:
        return None


def skeleton_of(name: str) -> str:
    """Return what a name looks like: two names of one skeleton can be mistaken for each other.

    The skeleton of Unicode TS 39 (section 4), made a second time after the case is taken away:
    ``AIice``, ``al\u0456ce`` and ``a1ice`` are all ``alice``. It is no name and is never shown.
    """
    # A capital L stays: it looks like none of those that look like a small one, and Greg I and
    # Greg L may both be here.
    plain = _replace_similar(name)
    return _replace_similar("".join(one if one == "L" else one.lower() for one in plain))


def _replace_similar(text: str) -> str:
    """Return the skeleton of Unicode TS 39, section 4."""
    return normalize("NFD", normalize("NFD", text).translate(_prototypes()))


@cache
def _reserved_skeletons() -> frozenset[str]:
    """Return what looks like a name that nobody can have."""
    return frozenset(map(skeleton_of, RESERVED_NAMES))


def _is_of_word(character: str) -> bool:
    """Tell whether a word can begin or end so: many scripts end words in a vowel sign."""
    return category(character)[0] in "LMN"
