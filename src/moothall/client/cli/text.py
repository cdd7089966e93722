"""Text from others, made harmless for a terminal. Pure.

A name or a comment may hold control characters that move the cursor, recolour the screen
or turn the direction of writing round. They are shown as escapes and never carried out.
"""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_HARMLESS = frozenset("\u200c\u200d")
"""Joiners that scripts and emoji need."""


def neutralise(text: str, *, keep: str = "") -> str:
    """Return ``text`` with every control and format character as a visible escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_show(one, keep) for one in text)


def neutralise_json(text: str) -> str:
    r"""Return JSON text with such characters as ``\uXXXX``; it means the same."""
    if text.isascii() and "\x7f" not in text:
        return text  # JSON itself forbids the ASCII ones inside strings.
    return "".join(_escape(one) if one != "\n" else one for one in text)


def _show(one: str, keep: str) -> str:
    if one in keep or one in _HARMLESS or unicodedata.category(one) not in _HIDDEN:
        return one
    number = ord(one)
    if number <= 0xFF:  # noqa: PLR2004 - two hexadecimal digits
        return f"\\x{number:02x}"
    return _escape(one)


def _escape(one: str) -> str:
    if one in _HARMLESS or unicodedata.category(one) not in _HIDDEN:
        return one
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
