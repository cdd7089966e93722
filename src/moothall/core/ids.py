"""Identifiers of rows: short, sortable by creation, safe in paths and URLs."""

import re

ID_LENGTH = 24
"""11 hexadecimal digits of epoch milliseconds, 13 of randomness (52 bits)."""

ENTROPY_BYTES = 7
"""Random bytes that :func:`make_id` takes; the last half byte is dropped."""

SLUG_LENGTH_MAX = 64

_ID = re.compile(r"[0-9a-f]{24}\Z")
_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def make_id(now_ms: int, entropy: bytes) -> str:
    """Return an id for a row made at ``now_ms`` (UTC epoch milliseconds).

    Rows made one after the other sort next to each other, which keeps the pages
    that an insertion touches few. An id is no secret.
    """
    return f"{now_ms:011x}{entropy.hex()[:13]}"


def is_id(text: str) -> bool:
    """Tell whether ``text`` has the form of an id; names must not."""
    return _ID.match(text) is not None


def make_slug(text: str) -> str:
    """Return a readable identifier made from a name, or '' if nothing is left of it.

    Only ASCII letters and digits survive, so that a slug can stand in a resource
    path, a URL and a shell command without quoting.
    """
    return _NOT_SLUG.sub("-", text.lower()).strip("-")[:SLUG_LENGTH_MAX].strip("-")
